"""Broadcasts a batch to a feed's live readers: one encoded form, written to every socket of a write group.

A write group holds the readers of a feed that are live, have nothing left to write and whose encoders agree: they use the same
one, or fold and are at the same state. All of them have had the same events, so one position and one fold serve the whole group.
A reader whose socket does not take a batch whole leaves the group, and is handed batches by itself until it has caught up. This
is the innermost loop: nothing in it is done per reader that can be done once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.disconnect import COMPLETED
from edge.hub.meter import Meter
from edge.stats import Stats
from edge.types import Batch, DirectWriter, Encoder, Subscriber
from router.position import of_one

Send = Callable[[bytes], int]

# Write groups of a feed. Those of shared dialects are fewer, and so are the states at which readers of one run are; readers at
# further states are handed batches by themselves.
MAX_GROUPS = 32


class WriteGroup:
    """Readers of one feed whose encoders agree, and that have written everything their process has handed out."""

    __slots__ = ("_meter", "_readers", "_sends", "_shares", "encoder", "position", "reported")

    def __init__(self, encoder: Encoder, meter: Meter) -> None:
        self.encoder = encoder
        # Up to where all of them have had everything, and the position whose cursor all were sent.
        self.position = self.reported = of_one(0)
        self._meter = meter
        self._readers: dict[DirectWriter, None] = {}
        # How each is written to, in their order, and how many read each session; rebuilt after a reader joined or left.
        self._sends: list[Send] | None = None
        self._shares: list[tuple[Stats, int]] = []

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def readers(self) -> tuple[DirectWriter, ...]:
        """The readers that are in it just now."""
        return tuple(self._readers)

    def join(self, reader: DirectWriter) -> None:
        """Takes in a reader that has had everything that the others have had."""
        if self._readers:
            self.position = self.position.joined(reader.position)
        else:
            self.position, self.reported = reader.position, reader.reported
        self._readers[reader] = None
        self._sends = None

    def leave(self, reader: DirectWriter) -> None:
        """Lets a reader go; its position is the group's."""
        del self._readers[reader]
        self._sends = None

    def write(self, batch: Batch) -> None:
        """Writes a batch to all of them. What a socket does not take at once waits in its transport."""
        if not self._readers:
            return
        sends = self._sends if self._sends is not None else self._line_up()
        form = self.encoder.encode(batch)
        size, count = len(form), len(batch)
        self.position = self.reported = batch.last
        short: list[tuple[Send, int]] = []
        # A fold may make nothing of a batch.
        rest = iter(sends if form else ())
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
        # Also those who leave because their sockets are full.
        ended = self.readers if self.encoder.over else ()
        if short:
            readers_of = dict(zip(sends, self._readers, strict=True))
            for send, sent in short:
                readers_of[send].remainder(form, sent)
        for reader in ended:
            reader.close(COMPLETED)

    def dissolve(self) -> None:
        """Lets all readers go: they are handed batches by themselves."""
        for reader in self.readers:
            reader.leave_group()

    def _line_up(self) -> list[Send]:
        shares: dict[int, tuple[Stats, int]] = {}
        for reader in self._readers:
            stats, count = shares.get(id(reader.stats), (reader.stats, 0))
            shares[id(reader.stats)] = stats, count + 1
        self._shares = list(shares.values())
        self._sends = [reader.socket.send for reader in self._readers if reader.socket is not None]
        return self._sends


class LiveReaders:
    """The live readers of a feed: those that are handed each batch by themselves, and those in write groups."""

    __slots__ = ("_groups", "_single")

    def __init__(self) -> None:
        # In the order they came.
        self._single: dict[Subscriber, None] = {}
        self._groups: list[WriteGroup] = []

    def __len__(self) -> int:
        return sum(map(len, self._groups), len(self._single))

    def __bool__(self) -> bool:
        return bool(self._single) or any(map(len, self._groups))

    def add(self, reader: Subscriber) -> None:
        """Hands batches to this reader by itself from here on."""
        self._single[reader] = None

    def discard(self, reader: Subscriber) -> None:
        """Hands nothing to this reader any more. Harmless where it is not handed batches by itself."""
        self._single.pop(reader, None)

    def group(self, encoder: Encoder, meter: Meter) -> WriteGroup | None:
        """The write group of those that are written the same as this encoder makes; None where there are too many groups."""
        for group in self._groups:
            if group.encoder.agrees(encoder):
                return group
        if len(self._groups) >= MAX_GROUPS:
            self._groups = [group for group in self._groups if group]
            if len(self._groups) >= MAX_GROUPS:
                return None
        group = WriteGroup(encoder.fork(), meter)
        self._groups.append(group)
        return group

    def all(self) -> list[Subscriber]:
        """Every live reader, in a group or not."""
        return [*self._single, *(reader for group in self._groups for reader in group.readers)]

    def deliver(self, batch: Batch, max_bytes: int) -> None:
        """Hands a batch to all of them; to groups in one go, where it has at most so many bytes."""
        if batch.size > max_bytes:
            # All of them before the first is offered anything: a reader that has written it joins a group again, and would take
            # that one with it to a position that the others are not at.
            for group in self._groups:
                group.dissolve()
        # Before anything is written: a reader that leaves its group meanwhile has had this batch.
        single = tuple(self._single)
        for group in tuple(self._groups):
            group.write(batch)
        for reader in single:
            reader.offer(batch)
