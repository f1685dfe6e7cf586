"""This file is where one batch goes to all lanes that stand abreast: the innermost loop, so nothing in it is done per lane
that can be done once.

A row is the lanes of a feed that are live, owe nothing and write in the same form. All have had the same events, so where
they stand is known once for all of them. Who cannot take a batch whole steps out, and is handed batches by itself until
it has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.hub.meter import Meter
from edge.stats import Stats
from edge.types import Batch, DirectWriter, Wire

Send = Callable[[bytes], int]


class Row:
    """Lanes of one feed and one wire that have written all that their process has handed out."""

    __slots__ = ("_lanes", "_meter", "_sends", "_shares", "position", "told", "wire")

    def __init__(self, wire: Wire, meter: Meter) -> None:
        self.wire = wire
        # Up to where all of them have had everything, and the last event that all were told.
        self.position = self.told = 0
        self._meter = meter
        self._lanes: dict[DirectWriter, None] = {}
        # How each is written to, in their order, and how many read each session; made anew after somebody came or went.
        self._sends: list[Send] | None = None
        self._shares: list[tuple[Stats, int]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def lanes(self) -> tuple[DirectWriter, ...]:
        """Those that stand in it just now."""
        return tuple(self._lanes)

    def enter(self, lane: DirectWriter) -> None:
        """Takes in a lane that has had everything that the others have had."""
        if self._lanes:
            self.position = max(self.position, lane.position)
        else:
            self.position, self.told = lane.position, lane.told
        self._lanes[lane] = None
        self._sends = None

    def leave(self, lane: DirectWriter) -> None:
        """Lets one go; it stands where the row does."""
        del self._lanes[lane]
        self._sends = None

    def write(self, batch: Batch) -> None:
        """Writes a batch to all of them. What a socket does not take at once waits in its transport."""
        if not self._lanes:
            return
        sends = self._sends if self._sends is not None else self._line_up()
        form = batch.made(self.wire)
        size, count = len(form), len(batch)
        self.position = self.told = batch.last
        short: list[tuple[Send, int]] = []
        rest = iter(sends)
        while True:
            try:
                for send in rest:
                    if (sent := send(form)) != size:
                        short.append((send, sent))
                break
            except OSError:
                # Its buffer is full, or the connection is gone: the transport finds out which.
                short.append((send, 0))
        now = time.time()
        for stats, readers in self._shares:
            stats.passed_on(count * readers, now)
        self._meter.wrote(batch, size, len(sends))
        if short:
            lanes = dict(zip(sends, self._lanes, strict=True))
            for send, sent in short:
                lanes[send].remainder(form, sent)

    def offer(self, batch: Batch) -> None:
        """Hands a batch to each by itself: one too large to leave to their transports."""
        lanes = tuple(self._lanes)
        # All of them before the first is offered anything: who has written it comes back, and stands elsewhere.
        for lane in lanes:
            lane.step_out()
        for lane in lanes:
            lane.offer(batch)

    def _line_up(self) -> list[Send]:
        shares: dict[int, tuple[Stats, int]] = {}
        for lane in self._lanes:
            stats, readers = shares.get(id(lane.stats), (lane.stats, 0))
            shares[id(lane.stats)] = stats, readers + 1
        self._shares = list(shares.values())
        self._sends = [lane.socket.send for lane in self._lanes if lane.socket is not None]
        return self._sends
