"""Describes one view's feed: its live readers, what the current tick holds for them, and the pages that they share."""

from __future__ import annotations

import asyncio
import math
from enum import Enum

from edge.hub.group import LiveReaders
from edge.types import Batch
from edge.view import View
from router.record import Record

# 16 pages of a feed in encoded form: many readers that reconnect together read, match and encode a page once.
SHARED_PAGES = 16


class Unsettled(Enum):
    """Stands for a page of which it is not known yet what the view shows."""

    UNSETTLED = "unsettled"


UNSETTLED = Unsettled.UNSETTLED


class Feed:
    """All readers of one view."""

    __slots__ = ("live", "lock", "pages", "pending", "readers", "since", "slowed", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.live = LiveReaders()
        # The records of this tick; the next flush hands them out.
        self.pending: list[Record] = []
        self.readers = 0
        # The sequence after which every event of this view is received.
        self.since = 0
        # What this view shows of the stream after one sequence and up to another; None where that is nothing.
        self.pages: dict[tuple[int, int], Batch | None] = {}
        # Held while a page is made, so that readers of the same one make it once.
        self.lock = asyncio.Lock()
        # When its readers were last told that its filter is over the budget.
        self.slowed = -math.inf

    def keep(self, key: tuple[int, int], page: Batch | None) -> None:
        """Keeps a page for other readers; the oldest one makes room."""
        if len(self.pages) >= SHARED_PAGES:
            del self.pages[next(iter(self.pages))]
        self.pages[key] = page
