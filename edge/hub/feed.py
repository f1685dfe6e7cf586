"""Describes one view's feed: its live readers, what the current tick holds for them, and the pages that they share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable
from enum import Enum

from edge.hub.conflation import conflate
from edge.hub.group import LiveReaders
from edge.types import Batch
from edge.view import View
from router.position import Position, of_one
from router.record import Record

# 16 pages of a feed in encoded form: many readers that reconnect together read, match and encode a page once.
SHARED_PAGES = 16
# 16 conflated windows: readers of one rate write at the same times, so theirs is made and encoded once.
SHARED_WINDOWS = 16


class Unsettled(Enum):
    """Stands for a page of which it is not known yet what the view shows."""

    UNSETTLED = "unsettled"


UNSETTLED = Unsettled.UNSETTLED


class Feed:
    """All readers of one view."""

    __slots__ = ("live", "lock", "pages", "pending", "readers", "since", "slowed", "view", "windows")

    def __init__(self, view: View) -> None:
        self.view = view
        self.live = LiveReaders()
        # The records of this tick; the next flush hands them out.
        self.pending: list[Record] = []
        self.readers = 0
        # The position after which every event of this view is received.
        self.since = of_one(0)
        # What this view shows of the streams after one position and up to another; None where that is nothing.
        self.pages: dict[tuple[Position, Position], Batch | None] = {}
        # What conflation made of some records, by their positions, and how many events those stood for that stood for others.
        self.windows: dict[tuple[Hashable, ...], Batch] = {}
        # Held while a page is made, so that readers of the same one make it once.
        self.lock = asyncio.Lock()
        # When its readers were last told that its filter is over the budget.
        self.slowed = -math.inf

    def conflated(self, batch: Batch) -> Batch:
        """A batch as one in which events stand for those that they supersede; readers with the same records share it."""
        key = (
            tuple([record.position for record in batch.records]),
            *((record.position, record.superseded) for record in batch.records if record.superseded),
        )
        window = self.windows.get(key)
        if window is None or window.epoch != batch.epoch or window.replayed != batch.replayed:
            window = Batch(conflate(batch.records), batch.epoch, batch.replayed, batch.unencodable)
            self.windows.pop(key, None)
            if len(self.windows) >= SHARED_WINDOWS:
                del self.windows[next(iter(self.windows))]
            self.windows[key] = window
        return window

    def forget(self) -> None:
        """Drops what is shared, as after events may have been missed."""
        self.pages.clear()
        self.windows.clear()

    def keep(self, key: tuple[Position, Position], page: Batch | None) -> None:
        """Keeps a page for other readers; the oldest one makes room."""
        if len(self.pages) >= SHARED_PAGES:
            del self.pages[next(iter(self.pages))]
        self.pages[key] = page
