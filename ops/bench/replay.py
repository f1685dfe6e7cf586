"""Measures replay: one reader that starts at the earliest event and reads all there is.

Each run has a subject of its own that nobody has read before, so no page of it is in the edge's memory.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, BenchError, Plan, Stand, stand

EVENTS = 20_000
PAGE = 1000


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Reads by polling, and as streams, in turn."""
    count = int(EVENTS * plan.seconds / Plan().seconds)
    async with stand() as place:
        found: dict[str, list[tuple[float, float, dict[str, float]]]] = {}
        for number in range(RUNS):
            for way in ("polling", *TRANSPORTS):
                subject = f"job.bench-replay-{way}-{number}.said"
                await place.producer.ask("burst", subject=subject, count=count, follow=False)
                # The position of the edge comes up to there with the first event it hears, or asks for.
                session = await place.session(subject)
                read = polled(place, session, count) if way == "polling" else _streamed(place, session, count, way)
                watch = place.watch()
                seconds = await read
                busy, spent = watch.shares(), watch.read()
                found.setdefault(way, []).append((count / seconds, count / spent["edge"], busy))
        for way, runs in found.items():
            yield ReportRow(
                "replay",
                f"replayed from the earliest by {TITLES.get(way, way)}",
                "events/s",
                [each[0] for each in runs],
                [each[1] for each in runs],
                middle(each[2] for each in runs),
                f"{count:,} events" + (f", pages of {PAGE:,}" if way == "polling" else ""),
            )


async def polled(place: Stand, session: str, count: int) -> float:
    began, have, cursor = time.perf_counter(), 0, "earliest"
    while have < count:
        async with place.http.get(f"{session}/events", params={"cursor": cursor, "limit": PAGE}) as answer:
            body = await answer.read()
        # The end of the answer says it all: {"events":[…],"session_id":…,"next":"…","has_more":…,"count":…
        rest = body[body.rindex(b'"next":"') + 8 :]
        cursor = rest[: rest.index(b'"')].decode()
        got = int(rest[rest.index(b'"count":') + 8 :].split(b",")[0].split(b"}")[0])
        if not got:
            raise BenchError(f"only {have} of {count} events by polling")
        have += got
    return time.perf_counter() - began


async def _streamed(place: Stand, session: str, count: int, transport: str) -> float:
    path = f"{session}/{TRANSPORTS[transport]}?cursor=earliest"
    asked = {"group": path, "port": place.port, "path": path, "transport": transport, "count": 1}
    answer = await place.audience.ask("storm", events=count, seconds=60, **asked)
    await place.audience.ask("close", group=path)
    return float(answer["ended"] - answer["began"])
