"""Hands out in pages the snapshot that a reader begins with."""

from __future__ import annotations

from edge.hub.recovery import FoundSnapshot
from edge.settings import SessionSettings
from edge.view import View
from router.cursor import Shown
from router.position import Position, lacking
from router.record import Record
from router.snapshots import snapshot_order


class SnapshotPages:
    """What one reader has still to be shown of a snapshot, under the view for which it was read."""

    __slots__ = ("_found", "_limits", "_next", "view")

    def __init__(self, found: FoundSnapshot, view: View, limits: SessionSettings) -> None:
        self.view = view
        self._found = found
        self._limits = limits
        self._next = 0

    @property
    def events(self) -> int:
        return len(self._found.records)

    @property
    def left_out(self) -> int:
        return self._found.left_out

    @property
    def said(self) -> dict[str, int]:
        return self._found.said

    @property
    def upto(self) -> Position:
        """The position that it is of: all that comes after it is read when the snapshot was."""
        return self._found.upto

    @property
    def before(self) -> Position:
        """The position behind which nothing of it was left out: a client that comes back there misses none."""
        before, shard = self._found.upto, None
        for record in self._found.records:
            if record.shard != shard:
                shard = record.shard
                before = before.met(lacking(shard, record.sequence - 1))
        return before

    @property
    def shown(self) -> Shown:
        """Up to where its records were handed out."""
        return snapshot_order(self._found.records[self._next - 1]) if self._next else (0, 0, 0)

    @property
    def done(self) -> bool:
        return self._next >= len(self._found.records)

    def next_page(self) -> list[Record]:
        """The next records, as many as a reader's mailbox holds."""
        page: list[Record] = []
        size = 0
        for record in self._found.records[self._next : self._next + self._limits.mailbox_events]:
            size += len(record.payload)
            if page and size > self._limits.mailbox_bytes:
                break
            page.append(record)
        self._next += len(page)
        return page
