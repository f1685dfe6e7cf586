"""Counts the events that wait in EVENTS for a webhook session, in any process, by the mark that the fan-out's owner saves."""

from __future__ import annotations

import msgspec

from edge.sessions.registry import Session
from router.broker import Broker
from router.cursor import Cursor
from router.nats.bucket import Bucket
from router.stored import decoder
from router.topology import LEASES

MARKS = "fanout.session"


class Mark(msgspec.Struct):
    """How far one session has come: on its own up to `after`, and with the others since then where it has `joined`.

    Events behind `since` may wait for the maximum age of the session; those before it are the past that it asked for.
    """

    epoch: str
    after: int
    joined: bool
    since: int | None = None


read_mark = decoder(Mark, LEASES)


async def waiting_events(broker: Broker, session: Session) -> int:
    """Counts the events under a session's patterns that are not jobs yet because it may hold no more now.

    Its types and its filter are not applied, so it may be fewer. Raises BrokerError.
    """
    key = f"{MARKS}.{session.id}"
    entry = await Bucket(broker.connection, LEASES).get(key)
    mark = read_mark(key, entry.value) if entry is not None else None
    if mark is not None and mark.joined:
        return 0
    place = Cursor(mark.epoch, mark.after) if mark is not None else session.start
    if place.epoch != (await broker.state()).epoch:
        return 0
    return sum([await broker.count(pattern, place.sequence) for pattern in session.view.patterns])
