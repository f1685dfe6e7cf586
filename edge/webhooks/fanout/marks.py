"""Finds the events that wait in EVENTS for a webhook session, in any process, by what the fan-out's owner saves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from edge.sessions.registry import Session
from router.broker import Broker
from router.cursor import UNKNOWN
from router.layout import Shard
from router.nats.bucket import Bucket
from router.stored import decoder
from router.topology import LEASES

MARKS = "fanout.session"
# Of the shards of later generations.
MARKS_OF = "fanout.mark"
POSITION = "fanout.position"


class Mark(msgspec.Struct):
    """How far one session has come: on its own up to `after`, and with the others since then where it has `joined`.

    Events behind `since` may wait for the maximum age of the session; those before it are the past that it asked for.
    """

    epoch: str
    after: int
    joined: bool
    since: int | None = None


class MatchedPosition(msgspec.Struct):
    """Every event up to `sequence` has been turned into jobs; `check` is that of its place, where it is known."""

    epoch: str
    sequence: int
    check: int = UNKNOWN


read_mark, read_position = decoder(Mark, LEASES), decoder(MatchedPosition, LEASES)


def marks_key(shard: Shard) -> str:
    """What the keys of the marks of a shard begin with."""
    return MARKS if shard.generation == 0 else f"{MARKS_OF}.{shard.stream}"


def position_key(shard: Shard) -> str:
    """The key of the position in a shard."""
    return POSITION if shard.generation == 0 else f"{POSITION}.{shard.stream}"


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """Where a session stands in one shard, as it was saved: behind `after` its events are not jobs, as far as is known.

    One that has `joined` stands where the fan-out does, whose position is saved a moment late.
    """

    shard: Shard
    after: int
    joined: bool
    last: int


async def waiting_events(broker: Broker, session: Session) -> int:
    """Counts the events under a session's patterns that are not jobs yet because it may hold no more now.

    Its types and its filter are not applied, so it may be fewer. Raises BrokerError.
    """
    waiting = 0
    for place in await _places(broker, session):
        if not place.joined and place.after < place.last:
            events = broker.shard(place.shard)
            waiting += sum([await events.count(pattern, place.after) for pattern in session.view.patterns])
    return waiting


async def waits_for_jobs(broker: Broker, session: Session, before: float) -> bool:
    """Whether there are events under a session's patterns that are not jobs yet, and were stored before a time.

    The time is in seconds since 1970. Where the fan-out is late, so are the events of those that have joined it. Raises BrokerError.
    """
    for place in await _places(broker, session):
        if place.after >= place.last:
            continue
        events = broker.shard(place.shard)
        later = await events.read(">", 0, 1, since=datetime.fromtimestamp(before, UTC))
        end = later.records[0].sequence - 1 if later.records else place.last
        for pattern in session.view.patterns:
            found = (await events.read(pattern, place.after, 1)).records
            if found and found[0].sequence <= end:
                return True
    return False


async def _places(broker: Broker, session: Session) -> list[SessionPlace]:
    """Where a session stands in the shards that it has begun, and those that came behind them. Raises BrokerError."""
    places: list[SessionPlace] = []
    bucket = Bucket(broker.connection, LEASES)
    # From the generation in which it is; what comes before that it has had, or never asked for.
    for generation in reversed(broker.layout.generations):
        known = False
        for shard in generation.shards:
            mark, position = await _saved(bucket, shard, session)
            state = await broker.shard(shard).state()
            start = session.start_in(state.epoch)
            known = known or mark is not None or start is not None
            joined = mark is not None and (mark.joined or mark.epoch != state.epoch)
            if mark is None:
                after = start.sequence if start is not None else 0
            elif mark.epoch != state.epoch:
                after = 0
            elif mark.joined and position is not None and position.epoch == state.epoch:
                after = max(mark.after, position.sequence)
            else:
                after = mark.after
            places.append(SessionPlace(shard, after, joined, state.last))
        if known:
            return places
    return []


async def _saved(bucket: Bucket, shard: Shard, session: Session) -> tuple[Mark | None, MatchedPosition | None]:
    key = f"{marks_key(shard)}.{session.id}"
    entry = await bucket.get(key)
    mark = read_mark(key, entry.value) if entry is not None else None
    key = position_key(shard)
    entry = await bucket.get(key)
    return mark, read_position(key, entry.value) if entry is not None else None
