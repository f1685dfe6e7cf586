"""Counts the events that wait in EVENTS for a webhook session, in any process, by the mark that the fan-out's owner saves."""

from __future__ import annotations

import msgspec

from edge.sessions.registry import Session
from router.broker import Broker
from router.layout import Shard
from router.nats.bucket import Bucket
from router.stored import decoder
from router.topology import LEASES

MARKS = "fanout.session"
# Of the shards of later generations.
MARKS_OF = "fanout.mark"


class Mark(msgspec.Struct):
    """How far one session has come: on its own up to `after`, and with the others since then where it has `joined`.

    Events behind `since` may wait for the maximum age of the session; those before it are the past that it asked for.
    """

    epoch: str
    after: int
    joined: bool
    since: int | None = None


read_mark = decoder(Mark, LEASES)


def marks_key(shard: Shard) -> str:
    """What the keys of the marks of a shard begin with."""
    return MARKS if shard.generation == 0 else f"{MARKS_OF}.{shard.stream}"


async def waiting_events(broker: Broker, session: Session) -> int:
    """Counts the events under a session's patterns that are not jobs yet because it may hold no more now.

    Its types and its filter are not applied, so it may be fewer. Raises BrokerError.
    """
    waiting = 0
    bucket = Bucket(broker.connection, LEASES)
    # From the generation in which it is; what comes before that it has had, or never asked for.
    for generation in reversed(broker.layout.generations):
        known = False
        for shard in generation.shards:
            key = f"{marks_key(shard)}.{session.id}"
            entry = await bucket.get(key)
            mark = read_mark(key, entry.value) if entry is not None else None
            state = await broker.shard(shard).state()
            start = session.start_in(state.epoch)
            known = known or mark is not None or start is not None
            if mark is not None:
                after = state.last if mark.joined or mark.epoch != state.epoch else mark.after
            else:
                after = start.sequence if start is not None else 0
            if after < state.last:
                events = broker.shard(shard)
                waiting += sum([await events.count(pattern, after) for pattern in session.view.patterns])
        if known:
            return waiting
    return 0
