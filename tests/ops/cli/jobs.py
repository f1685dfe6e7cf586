"""Runs `callboard run` for tests, and reads what it published."""

from __future__ import annotations

from typing import Any

from router.broker import Broker
from router.event import Event


async def told(broker: Broker, job: str) -> list[Event]:
    found: list[Event] = []
    after, more = 0, True
    while more:
        page = await broker.read(f"job.{job}.>", after, 1000)
        found += [record.event for record in page.records if record.event]
        after, more = page.records[-1].sequence if page.records else after, page.more
    return found


def only(events: list[Event], kind: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.type == kind]
