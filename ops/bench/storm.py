"""Measures a reconnect storm: all readers come back at once, each with 100 events to catch up on.

The time runs from the first connect until every reader has what it missed, and then one more event that is said live.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, Plan, Stand, stand

MISSED = 100


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Lets storms rage on each transport, in turn."""
    count = 2000 if plan.full else 500
    async with stand() as place:
        found: dict[str, list[tuple[float, float, dict[str, float]]]] = {}
        for number in range(RUNS):
            for transport in TRANSPORTS:
                found.setdefault(transport, []).append(await _storm(place, transport, count, number))
        for transport, runs in found.items():
            connected = middle({"": each[1]} for each in runs)[""]
            yield ReportRow(
                "storm",
                f"{count:,} {TITLES[transport]} readers reconnect, {MISSED} missed each",
                "s",
                [each[0] for each in runs],
                busy=middle(each[2] for each in runs),
                note=f"all were answered after {connected:.2f} s",
            )


async def _storm(place: Stand, transport: str, count: int, number: int) -> tuple[float, float, dict[str, float]]:
    group = f"storm-{transport}-{number}"
    subject = f"job.bench-{group}.said"
    session = await place.session(subject)
    cursor = await _cursor(place, session)
    await place.producer.ask("burst", subject=subject, count=MISSED, follow=False)
    where: dict[str, Any] = {
        "group": group,
        "port": place.port,
        "path": f"{session}/{TRANSPORTS[transport]}?cursor={cursor}",
        "transport": transport,
        "count": count,
    }
    watch = place.watch()
    caught = await place.audience.ask("storm", events=MISSED, seconds=60, **where)
    answers = await asyncio.gather(
        place.producer.ask("burst", subject=subject, count=1, follow=False),
        place.audience.ask("collect", group=group, events=MISSED + 1, seconds=30),
    )
    busy = watch.shares()
    await place.audience.ask("close", group=group)
    return answers[1]["ended"] - caught["began"], caught["ready"] - caught["began"], busy


async def _cursor(place: Stand, session: str) -> str:
    """Where the session's readers were when they were cut off."""
    async with place.http.get(f"{session}/events") as answer:
        return str((await answer.json())["next"])
