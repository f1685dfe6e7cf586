"""Remembers stretches of the stream in which a view shows nothing, so that they are scanned once and not at every poll."""

from __future__ import annotations

from collections import OrderedDict

from edge.view import View

# 4,096 places, some 200 bytes each; what is forgotten is scanned again.
MAX_PLACES = 4096


class IdleStretches:
    """For a view and a sequence: up to which later sequence the view shows no event."""

    def __init__(self, most: int = MAX_PLACES) -> None:
        self._most = most
        self._upto: OrderedDict[tuple[View, int], int] = OrderedDict()

    def skip(self, view: View, after: int) -> int:
        """The sequence from which a scan need go on; the same one where nothing is known."""
        key = (view, after)
        if (upto := self._upto.get(key)) is None:
            return after
        self._upto.move_to_end(key)
        return upto

    def note(self, view: View, after: int, upto: int) -> None:
        """Notes that nothing between two sequences is for a view; the least recently used place makes room."""
        if upto <= after:
            return
        self._upto[view, after] = max(upto, self._upto.get((view, after), 0))
        self._upto.move_to_end((view, after))
        if len(self._upto) > self._most:
            self._upto.popitem(last=False)

    def clear(self) -> None:
        """Forgets all, as after the stream was recreated."""
        self._upto.clear()
