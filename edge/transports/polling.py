"""Reads a session by polling: pages from the same cursor, and a long poll that waits for the next event."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple

from edge.dialects.dialect import SharedDialect
from edge.hub.conflation import conflate
from edge.hub.hub import Hub
from edge.hub.reader import Reader, open_reader
from edge.sessions.spec import UNSTORED
from edge.stats import Stats
from edge.transports.since import PollHistory, place_of_time, with_places
from edge.types import Batch, Notice, ReadRequest
from edge.view import FULL, Pace
from router.codec import rfc3339, to_json
from router.cursor import FOREIGN, Cursor, Start, marked, rest_of_snapshot
from router.live_subscription import NOWHERE
from router.place import Gap, Place
from router.position import Position
from router.record import Record
from router.snapshots import snapshot_order

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
# 50 s: under the 60 s after which nginx and many others give up on an answer by default.
MAX_WAIT = 50.0
# 4 MiB of events, or one that is larger: what a client that never reads its answer may cost.
MAX_BYTES = 4 * 1024 * 1024
# 1 s: what a poll with a lower rate waits at most for more to come, lest a shutdown wait for it.
MAX_EARLY = 1.0
# Shorter answers fit one packet as they are.
GZIP_ABOVE = 1400


@dataclass(frozen=True)
class Polled:
    """One answer to a poll."""

    records: list[Record]
    next: str
    more: bool
    gap: Gap | None
    # Whether the poll waited for what it brings, so that its lateness says something of us.
    waited: bool = False
    # Whether each event's time is to have its place in it, for clients that go on by time.
    places: bool = False
    # What is said of the snapshot that it is a page of.
    snapshot: dict[str, int] | None = None
    # Events that others stand for, because the client asked for fewer.
    superseded: int = 0
    # The life of the streams in which they were read, where it is not the hub's.
    epoch: str = ""
    # Where it begins, for a client that goes back.
    begin: str = ""


@dataclass(frozen=True)
class Poll:
    """What a client asks for: up to `limit` events behind a place, and to wait up to `wait` seconds where there is none."""

    start: Start
    limit: int = DEFAULT_LIMIT
    wait: float = 0.0
    # Whether it goes on by the cursors of answers; a client that does not may go on by the time of an event.
    by_cursor: bool = False
    pace: Pace = FULL


async def poll(hub: Hub, reading: ReadRequest, asked: Poll, stats: Stats, answers: PollHistory) -> Polled:
    """Answers a poll. Raises BrokerError."""
    async with open_reader(hub, reading.view, reading.session_id, Stats(), kind=Reader) as reader:
        stats.polls += 1
        try:
            return await _collect(hub, reading, asked, reader, answers)
        finally:
            stats.polls -= 1


async def _collect(hub: Hub, reading: ReadRequest, asked: Poll, reader: Reader, answers: PollHistory) -> Polled:
    start = asked.start
    if start.snapshot:
        return await _collect_snapshot(hub, reading, asked)
    again = None
    if start.since is not None and start.mark is None and not asked.by_cursor:
        again = await answers.find(hub, reading.session_id, reader, start)
    begun = time.monotonic()
    place = Place(again.after, None) if again is not None else await hub.recovery.place(start, reader.feed)
    # What the client has had already is repeated beside the `limit`, so that it gets on.
    had = again.had if again is not None else place.after
    epoch, renewals, incarnation = hub.epoch, hub.integrity.renewals, hub.integrity.incarnation
    after = hub.idle.skip(reading.view, place.after)
    # Of events that one stands for more are read than the answer holds; a thousand take some ten milliseconds.
    most = MAX_LIMIT if asked.pace.conflate else asked.limit
    scan = await _scan(hub, reading, reader, after, most, had)
    if not scan.records and hub.integrity.renewals == renewals:
        # A client without a cursor comes back to the same place, and must not scan the same events for ever.
        hub.idle.note(reading.view, place.after, scan.upto)
    waited = not (_new(scan.records, had) or scan.more) and asked.wait > 0
    if waited and await _something_new(reader, Start(cursor=hub.recovery.place_at(scan.upto)), asked.wait):
        # Read from the store and not taken as it was received: `next` leads past all of it, so nothing before it may have been missed.
        scan = await _scan(hub, reading, reader, after if scan.records else scan.upto, most, had)
    if (early := _early(asked, most, scan, had, begun)) > 0:
        await asyncio.sleep(early)
        scan = await _scan(hub, reading, reader, after, most, had)
    if hub.integrity.incarnation != incarnation:
        # The stream was recreated meanwhile, or an older state of it restored; clients that come from before are told of a gap.
        anew = replace(asked, start=Start(cursor=Cursor(FOREIGN, 0)), wait=0.0)
        return await _collect(hub, reading, anew, reader, answers)
    taken, shown = _fitting(scan.records, asked, had)
    cut = taken < len(scan.records)
    upto = scan.records[taken - 1].position if cut else scan.upto
    if not asked.by_cursor and (new := _new(shown, had)):
        await answers.note(hub, reading.session_id, epoch, had, new[-1].position)
    following = (
        shown[-1].cursor(epoch) if shown and shown[-1].position == upto else await hub.recovery.find_cursor(upto)
    )
    superseded = taken - len(shown)
    return Polled(
        shown, following, cut or scan.more, place.gap, waited, not asked.by_cursor, superseded=superseded, epoch=epoch
    )


async def _collect_snapshot(hub: Hub, reading: ReadRequest, asked: Poll) -> Polled:
    """A page of a snapshot; `next` leads to its next page, and behind the last one to all that was stored since."""
    start = asked.start
    found = await hub.recovery.snapshot(start, reading.view)
    # Of each key it has one event already.
    _, shown = _fitting(found.records, replace(asked, pace=FULL), NOWHERE)
    following = await hub.recovery.find_cursor(found.upto)
    if cut := len(shown) < len(found.records):
        following = rest_of_snapshot(following, snapshot_order(shown[-1]))
    return Polled(shown, following, cut, found.gap, False, not asked.by_cursor, found.said)


def _new(records: list[Record], had: Position) -> list[Record]:
    """Those that the client has not had."""
    return [record for record in records if not had.covers(record)]


def _early(asked: Poll, most: int, scan: _Scan, had: Position, begun: float) -> float:
    """The seconds until a poll with a rate may be answered: what comes until then goes with what there is."""
    if not asked.pace.max_rate or scan.more or not (new := _new(scan.records, had)) or len(new) > most:
        return 0.0
    return begun + min(1 / asked.pace.max_rate, asked.wait, MAX_EARLY) - time.monotonic()


def _fitting(records: list[Record], asked: Poll, had: Position) -> tuple[int, list[Record]]:
    """As many as an answer may hold, and at least one that is new: how many are taken, and what is shown of them."""
    if not asked.pace.conflate:
        size = count = 0
        for place, record in enumerate(records):
            if had.covers(record):
                continue
            size += len(record.payload)
            count += 1
            if count > asked.limit or (size > MAX_BYTES and count > 1):
                return place, records[:place]
        return len(records), records
    first, taken = len(records) - len(_new(records, had)), len(records)
    shown = conflate(records[first:])
    if not _fit(shown, asked.limit):
        # The more are taken, the more are shown. A window is cut at its end only: what `next` leads past is all in it.
        places = range(first + 1, taken)
        over = bisect_left(places, True, key=lambda place: not _fit(conflate(records[first:place]), asked.limit))
        taken = first + max(over, 1)
        shown = conflate(records[first:taken])
    return taken, records[:first] + shown


def _fit(records: list[Record], limit: int) -> bool:
    return len(records) <= limit and (len(records) < 2 or sum(len(record.payload) for record in records) <= MAX_BYTES)


class _Scan(NamedTuple):
    """Matching records, the position up to which there are no others, and whether the store holds more behind it."""

    records: list[Record]
    upto: Position
    more: bool


async def _scan(hub: Hub, reading: ReadRequest, reader: Reader, after: Position, limit: int, had: Position) -> _Scan:
    """Reads more than an answer holds where there is so much, and no more than one request may scan.

    What the client has had, up to `had`, counts for neither.
    """
    records: list[Record] = []
    count = size = scanned = scanned_bytes = 0
    while True:
        stretch = await hub.recovery.stretch(reader.feed, after)
        found = await hub.filtering.select(reading.view, stretch.records)
        records += found
        count += len(_new(found, had))
        size += sum(len(record.payload) for record in _new(found, had))
        if had.behind(stretch.upto):
            scanned += len(stretch.records)
            scanned_bytes += sum(len(record.payload) for record in stretch.records)
        after = after.joined(stretch.upto)
        if not stretch.more or count > limit or size > MAX_BYTES:
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


def body(hub: Hub, reading: ReadRequest, polled: Polled) -> bytes:
    """The answer as JSON; it has the session's id, as those of webhooks have, where there is a session."""
    assert isinstance(reading.dialect, SharedDialect)
    encode, epoch = reading.dialect.encode, polled.epoch or hub.epoch
    made: list[bytes] = []
    for record in polled.records:
        try:
            event = encode(record, epoch)
            made.append(with_places(event, record, epoch) if polled.places else event)
        except Exception as fault:  # noqa: BLE001 - logged by the hub
            hub.unencodable(record, fault)
    rest: dict[str, object] = {
        **({} if reading.session_id.startswith(UNSTORED) else {"session_id": reading.session_id}),
        "next": polled.next,
        "has_more": polled.more,
        "count": len(made),
    }
    if polled.begin:
        rest["begin"] = polled.begin
    if polled.snapshot is not None:
        rest["snapshot"] = polled.snapshot
    if polled.gap:
        rest["gap"] = {
            "from": hub.recovery.cursor(polled.gap.first),
            "to": hub.recovery.cursor(polled.gap.last),
            "reset": polled.gap.reset,
        }
    if polled.records and (last := polled.records[-1].event) is not None:
        moment = rfc3339(last.time)
        rest["last_timestamp"] = marked(moment, *place_of_time(polled.records[-1], epoch)) if polled.places else moment
    return b'{"events":[' + b",".join(made) + b"]," + to_json(rest)[1:]
