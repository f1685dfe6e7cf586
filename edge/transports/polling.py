"""Reads a session by polling: pages from the same cursor, and a long poll that waits for the next event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

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
# 4 MiB of events, or one that is larger: what a client that never reads its answer may cost.
MAX_BYTES = 4 * 1024 * 1024
# Shorter answers fit one packet as they are.
GZIP_ABOVE = 1400
# Sorts behind every cursor.
EVERYTHING = "~"


@dataclass(frozen=True)
class Polled:
    """One answer to a poll."""

    records: list[Record]
    next: str
    more: bool
    gap: Gap | None
    # Whether the poll waited for what it brings, so that its lateness says something of us.
    waited: bool = False


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
    epoch, life = hub.epoch, hub.life
    scan = await _scan(hub, session, reader, hub.idle.skip(session.view, place.after), limit)
    if not scan.records and hub.life == life:
        # Who comes without a cursor comes back to the same place, and must not scan the same events for ever.
        hub.idle.note(session.view, place.after, scan.upto)
    waited = not (scan.records or scan.more) and wait > 0
    if waited and await _something_new(reader, Start(cursor=Cursor(epoch, scan.upto)), wait):
        # Read and not taken as it was heard: `next` leads past all of it, so nothing before it may have been missed.
        scan = await _scan(hub, session, reader, scan.upto, limit)
    if hub.epoch != epoch:
        # The stream was made anew meanwhile; who comes from the old one is told so.
        return await _collect(hub, session, Start(cursor=Cursor(epoch, scan.upto)), limit, 0, reader)
    shown = _fitting(scan.records[:limit])
    cut = len(shown) < len(scan.records)
    upto = shown[-1].sequence if cut else scan.upto
    return Polled(shown, str(Cursor(epoch, upto)), cut or scan.more, place.gap, waited)


def _fitting(records: list[Record]) -> list[Record]:
    """As many as an answer may hold, and at least one."""
    size = 0
    for count, record in enumerate(records):
        size += len(record.payload)
        if size > MAX_BYTES and count:
            return records[:count]
    return records


class _Scan(NamedTuple):
    """Matching records, the sequence up to which there are no others, and whether the store holds more behind it."""

    records: list[Record]
    upto: int
    more: bool


async def _scan(hub: Hub, session: Session, reader: Reader, after: int, limit: int) -> _Scan:
    """Reads more than an answer holds where there is so much, and no more than one request may scan."""
    records: list[Record] = []
    size = scanned = scanned_bytes = 0
    while True:
        stretch = await hub.stretch(reader.feed, after)
        found = await hub.filtering.select(session.view, stretch.records)
        records += found
        size += sum(len(record.payload) for record in found)
        scanned += len(stretch.records)
        scanned_bytes += sum(len(record.payload) for record in stretch.records)
        after = max(after, stretch.upto)
        if not stretch.more or len(records) > limit or size > MAX_BYTES:
            return _Scan(records, after, stretch.more)
        if scanned >= hub.settings.scan_events or scanned_bytes >= hub.settings.scan_bytes:
            return _Scan(records, after, True)
        # Pages that are cached are not waited for: others have their turn between two of them.
        await asyncio.sleep(0)


async def _something_new(reader: Reader, start: Start, wait: float) -> bool:
    """Waits for an event; says no where there was none, or the edge shuts down."""
    try:
        async with asyncio.timeout(wait), aclosing(reader.read(start)) as steps:
            async for step in steps:
                if isinstance(step, Batch):
                    return True
                if isinstance(step, Notice) and step.control == "bye":
                    return False
    except TimeoutError:
        pass
    return False


def takes_gzip(accepted: Iterable[str]) -> bool:
    """Whether a client's Accept-Encoding headers name gzip, and do not refuse it by `q=0`."""
    for choice in ",".join(accepted).lower().split(","):
        name, _, weight = choice.replace(" ", "").partition(";q=")
        if name in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" or not weight
    return False


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
