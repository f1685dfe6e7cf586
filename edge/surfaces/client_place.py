"""Finds up to where the client of a surface has been before, by the id of the last event or part that it was sent."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from edge.dialects.folding import read_part_id
from edge.http.body import edge_of
from edge.transports.sse import last_event_id
from edge.view import View
from router.cursor import Start, parse_start
from router.errors import BadCursor
from router.event_place import PlaceNumber, locate
from router.position import Position

# The Last-Event-ID of clients that want all from the beginning.
BEGINNING = "-1"


class ClientPlace(NamedTuple):
    """Up to which position a client has everything, of the last event there how many parts where it has not all of them, and
    whether it came with a place that is none of ours."""

    after: Position | None = None
    had: int = 0
    foreign: bool = False

    def has(self, place: PlaceNumber) -> bool:
        """Whether it has all events of an entity up to a place, and all parts of the one there."""
        if self.after is None:
            return False
        end = locate(place)
        at = self.after.of(end.shard)
        return at > end.sequence or (at == end.sequence and not self.had)


async def client_place(request: Request, patterns: tuple[str, ...]) -> ClientPlace:
    """Where a client of the events under some patterns has been before. Raises BrokerError."""
    said = last_event_id(request) or request.query_params.get("cursor")
    if not said or said == BEGINNING:
        return ClientPlace()
    cursor, had = read_part_id(said)
    try:
        start = parse_start(cursor)
    except BadCursor:
        return ClientPlace(foreign=True)
    if start is None or start.cursor is None:
        return ClientPlace()
    recovery = edge_of(request).hub.recovery
    place = await recovery.begin(Start(cursor=start.cursor), View.of("", list(patterns), None, None))
    if place.gap is not None and place.gap.reset:
        return ClientPlace(foreign=True)
    return ClientPlace(recovery.places.narrowed(place.after, patterns), had)
