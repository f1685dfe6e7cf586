"""Remembers stretches of the stream in which a view shows nothing, so that they are scanned once and not at every poll."""

from __future__ import annotations

from collections import OrderedDict

from edge.view import View
from router.position import Position

# 4,096 places, some 200 bytes each; what is forgotten is scanned again.
MAX_PLACES = 4096


class IdleStretches:
    """For a view and a position: up to which later position the view shows no event."""

    def __init__(self, most: int = MAX_PLACES) -> None:
        self._most = most
        self._upto: OrderedDict[tuple[View, Position], Position] = OrderedDict()

    def skip(self, view: View, after: Position) -> Position:
        """The position from which a scan need go on; the same one where nothing is known."""
        key = (view, after)
        if (upto := self._upto.get(key)) is None:
            return after
        self._upto.move_to_end(key)
        return upto

    def note(self, view: View, after: Position, upto: Position) -> None:
        """Notes that nothing between two positions is for a view; the least recently used place makes room."""
        if after.reaches(upto):
            return
        self._upto[view, after] = upto.joined(self._upto.get((view, after), upto))
        self._upto.move_to_end((view, after))
        if len(self._upto) > self._most:
            self._upto.popitem(last=False)

    def clear(self) -> None:
        """Forgets all, as after the stream was recreated."""
        self._upto.clear()
