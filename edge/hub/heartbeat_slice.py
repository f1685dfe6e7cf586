"""Writes the heartbeats of the readers that are due together: those of a write group with one write each, and nothing else.

By the time a crowd's heartbeats are due, nothing of its readers is in the processor's caches, and to fetch a reader takes as long
as the kernel takes to send. So what is the same for many is kept once for all of them, and for each only its descriptor, in an array.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator
from os import write
from typing import cast

from edge.types import DirectWriter, HeartbeatGroup, Subscriber
from router.position import Position

# So many heartbeats at a time: about a millisecond, and then events may pass.
BEATS_AT_ONCE = 100

Received = Callable[[], Position]


class HeartbeatShare:
    """Readers of one write group that are due together, and were told the same position: all get the same heartbeat."""

    __slots__ = ("_descriptors", "_group", "_readers", "differs_at", "told")

    def __init__(self, group: HeartbeatGroup, told: Position) -> None:
        # The position whose cursor all of them were told last, by a heartbeat.
        self.told = told
        # When the first of them is due for more than that.
        self.differs_at = math.inf
        self._group = group
        self._readers: list[DirectWriter] = []
        # In the same order.
        self._descriptors = array("i")

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def readers(self) -> tuple[DirectWriter, ...]:
        """The readers that are in it just now."""
        return tuple(self._readers)

    def add(self, reader: DirectWriter, descriptor: int) -> None:
        """Takes in a reader that was told what the others were."""
        reader.share_place = len(self._readers)
        self._readers.append(reader)
        self._descriptors.append(descriptor)
        self.differs_at = min(self.differs_at, reader.differs_at)

    def remove(self, reader: DirectWriter) -> None:
        """Lets a reader go; the last one takes its place."""
        place, reader.share_place, reader.told = reader.share_place, -1, self.told
        last, descriptor = self._readers.pop(), self._descriptors.pop()
        if last is not reader:
            last.share_place = place
            self._readers[place], self._descriptors[place] = last, descriptor

    def beat(self, received: Received) -> Iterator[int]:
        """Writes a heartbeat to all; yields how many after each part, between which others may come and go.

        From the end: who takes the place of one that left meanwhile has had its heartbeat already.
        """
        told: Position | None = None
        end = len(self._readers)
        while end:
            begin = max(0, end - BEATS_AT_ONCE)
            position = self._write(begin, end, received())
            # What the first part was told holds for all; until all have been told, what was told before does.
            told = told or position
            yield end - begin
            end = min(begin, len(self._readers))
        self.told = told or self.told

    def beat_each(self) -> Iterator[int]:
        """Has each reader send its heartbeat, with its ping where that is due; else as `beat`."""
        told: Position | None = None
        self.differs_at = math.inf
        end = len(self._readers)
        while end:
            begin = max(0, end - BEATS_AT_ONCE)
            for reader in self._readers[begin:end]:
                reader.told = self.told
                reader.beat()
                # One that was closed has left.
                if reader.share_place >= 0:
                    self.differs_at = min(self.differs_at, reader.differs_at)
            told = told or self._group.position
            yield end - begin
            end = min(begin, len(self._readers))
        self.told = told or self.told

    def _write(self, begin: int, end: int, received: Position) -> Position:
        """Writes a heartbeat to some, or a position where theirs has moved; returns it."""
        group = self._group
        group.position = position = group.position.joined(received)
        control = "heartbeat" if self.told.joined(group.reported) == position else "position"
        form = self._readers[begin].encoded_heartbeat(control, position)
        size = len(form)
        unsent: list[tuple[DirectWriter, int]] = []
        for place, descriptor in enumerate(self._descriptors[begin:end], begin):
            try:
                sent = write(descriptor, form)
            except OSError:
                # Its buffer is full, or the connection is gone: the transport finds out which.
                sent = 0
            if sent != size:
                unsent.append((self._readers[place], sent))
        for reader, sent in unsent:
            reader.remainder(form, sent)
        return position


class HeartbeatSlice:
    """The readers of a process that are due at the same time."""

    __slots__ = ("_alone", "_shares")

    def __init__(self) -> None:
        # Those that send their heartbeats by themselves, in the order they came.
        self._alone: dict[Subscriber, None] = {}
        self._shares: dict[HeartbeatGroup, HeartbeatShare] = {}

    @property
    def readers(self) -> list[Subscriber]:
        """The readers that are in it just now."""
        return [*self._alone, *(reader for share in self._shares.values() for reader in share.readers)]

    def add(self, reader: Subscriber) -> None:
        """Takes a reader in."""
        self._alone[reader] = None

    def discard(self, reader: Subscriber) -> bool:
        """Lets a reader go; says whether it was there."""
        self.separate(reader)
        return self._alone.pop(reader, self) is None

    def separate(self, reader: Subscriber) -> None:
        """Has a reader, which is about to leave its write group, send heartbeats by itself. Harmless where it does so already."""
        if reader.share_place < 0 or (group := reader.group) is None:
            return
        share = self._shares[group]
        share.remove(cast(DirectWriter, reader))
        if not share:
            del self._shares[group]
        self._alone[reader] = None

    def beat(self, received: Received) -> Iterator[int]:
        """Sends the heartbeats of all; yields how many after each part, between which others may come and go.

        `received` says up to where all that was received has been handed out; asked once for each part.
        """
        now = time.monotonic()
        for share in tuple(self._shares.values()):
            yield from share.beat_each() if share.differs_at <= now else share.beat(received)
        for single in tuple(self._alone):
            # It may have ended while others had their turn.
            if single in self._alone:
                single.beat()
                self.join(single)
                yield 1

    def join(self, reader: Subscriber) -> None:
        """Shares the next heartbeats of a reader with others, if it is in a write group and was told what they were."""
        if (group := reader.group) is None or reader not in self._alone:
            return
        writer = cast(DirectWriter, reader)
        if writer.descriptor < 0:
            return
        share = self._shares.get(group)
        if share is None:
            share = self._shares[group] = HeartbeatShare(group, writer.told)
        elif share.told != writer.told:
            return
        share.add(writer, writer.descriptor)
        del self._alone[reader]
