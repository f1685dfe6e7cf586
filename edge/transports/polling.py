"""This file is where a session is read by polling: pages from the same cursor, and a long poll that waits for the next."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from edge.dialects import DIALECTS
from edge.hub import Hub
from edge.registry import Session
from edge.session import Batch, Notice, Reader
from edge.stats import Stats
from router.codec import rfc3339, to_json
from router.cursor import Cursor, Start
from router.record import Record
from router.replay import Gap

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
# 50 s: under the 60 s after which nginx and many others give up on an answer by default.
MAX_WAIT = 50.0
# Sorts behind every cursor.
EVERYTHING = "~"


@dataclass(frozen=True)
class Polled:
    """One answer to a poll."""

    records: list[Record]
    next: str
    more: bool
    gap: Gap | None


async def poll(hub: Hub, session: Session, start: Start, limit: int, wait: float, stats: Stats) -> Polled:
    """Reads up to `limit` events after a place; waits up to `wait` seconds for the first where there is none."""
    async with hub.reader(session.view, session.id, Stats()) as reader:
        stats.polls += 1
        try:
            return await _collect(hub, session, start, limit, wait, reader)
        finally:
            stats.polls -= 1


async def _collect(hub: Hub, session: Session, start: Start, limit: int, wait: float, reader: Reader) -> Polled:
    place = await hub.place(start, reader.feed)
    records: list[Record] = []
    after = place.after
    while len(records) <= limit:
        stretch = await hub.stretch(reader.feed, after)
        records += [record for record in stretch.records if session.view.accepts(record)]
        after = max(after, stretch.upto)
        if not stretch.more:
            break
    if not records and wait > 0:
        records = await _wait_for_some(reader, Start(cursor=Cursor(hub.epoch, after)), wait)
    more = len(records) > limit
    records = records[:limit]
    last = records[-1].sequence if more else max(after, records[-1].sequence if records else 0)
    return Polled(records, str(Cursor(hub.epoch, last)), more, place.gap)


async def _wait_for_some(reader: Reader, start: Start, wait: float) -> list[Record]:
    try:
        async with asyncio.timeout(wait), aclosing(reader.read(start)) as steps:
            async for step in steps:
                if isinstance(step, Batch):
                    return list(step.records)
                if isinstance(step, Notice) and step.control == "bye":
                    return []
    except TimeoutError:
        pass
    return []


def body(hub: Hub, session: Session, polled: Polled) -> bytes:
    """The answer as JSON; each event has the session's id, as webhooks have it too."""
    dialect = DIALECTS[session.spec.dialect]
    events = b",".join(dialect(record, hub.epoch) for record in polled.records)
    rest: dict[str, object] = {
        "session_id": session.id,
        "next": polled.next,
        "has_more": polled.more,
        "count": len(polled.records),
    }
    if polled.gap:
        rest["gap"] = {
            "from": str(Cursor(hub.epoch, polled.gap.first)),
            "to": str(Cursor(hub.epoch, polled.gap.last)),
            "reset": polled.gap.reset,
        }
    if polled.records and (event := polled.records[-1].event) is not None:
        rest["last_timestamp"] = rfc3339(event.time)
    return b'{"events":[' + events + b"]," + to_json(rest)[1:]
