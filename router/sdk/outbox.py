"""Holds a run's events until they are stored: a bounded queue in memory, whose overflow goes to disk, waits or is dropped.

One caller adds, from any thread, and one delivers: it takes the first events, and settles them in their order. Once events
went to disk, the file is the queue: what is added goes behind, and what is taken is read from its front, until it is empty.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from router.sdk.queued import Kind, Queued
from router.sdk.spool import SpoolFailed, SpoolFile
from router.sdk.values import Overflow, RunSettings

log = logging.getLogger(__name__)

# 16 MiB of events: the memory that a run may take of its program while the server is away.
MAX_BYTES = 16 * 1024 * 1024


class RunOutbox:
    """The queue of one run."""

    def __init__(self, settings: RunSettings, make_spool: Callable[[], SpoolFile], on_room: Callable[[], None]) -> None:
        """`make_spool` opens the run's file, or raises SpoolFailed; `on_room` is called when events were settled."""
        self.stored = self.refused = self.dropped = 0
        self.superseded = 0  # progress that a newer one stood for
        self._settings = settings
        self._make_spool = make_spool
        self._on_room = on_room
        self._lock = threading.Lock()
        self._taken: deque[tuple[Queued, int]] = deque()  # under way; each with its end in the file, or 0
        self._memory: deque[Queued] = deque()
        self._bytes = 0  # in memory and under way
        self._file: SpoolFile | None = None
        self._read = self._unread = 0  # how far the file is taken, and how many events of it are not
        self._failed: str | None = None  # why nothing can be spooled any more
        self._since = 0.0  # when the first event that waits began to

    def __len__(self) -> int:
        return len(self._taken) + len(self._memory) + self._unread

    @property
    def full(self) -> bool:
        """Whether the next event finds `capacity` events or MAX_BYTES in memory."""
        return len(self._taken) + len(self._memory) >= self._settings.capacity or self._bytes >= MAX_BYTES

    @property
    def must_wait(self) -> bool:
        """Whether who adds an event shall wait for room first."""
        match self._settings.overflow:
            case Overflow.WAIT:
                return self.full
            case Overflow.DROP_PROGRESS:
                return self.full and not self._drop_superseded()
            case _:
                return False

    @property
    def spooling(self) -> bool:
        return self._file is not None

    @property
    def spool_path(self) -> Path | None:
        return self._file.path if self._file is not None else None

    @property
    def failure(self) -> str | None:
        """Why the last attempt to spool failed."""
        return self._failed

    def waited(self) -> float:
        """For how many seconds the first event has waited."""
        return time.monotonic() - self._since if len(self) else 0.0

    def add(self, item: Queued) -> None:
        """Appends an event; what finds no room is treated by the policy."""
        with self._lock:
            if not len(self):
                self._since = time.monotonic()
            if self._file is None and self.full and item.kind is not Kind.END:
                self._make_room()
            if self._file is not None:
                self._append(item)
            else:
                self._memory.append(item)
                self._bytes += item.size

    def _make_room(self) -> None:
        if self._settings.overflow is Overflow.SPOOL and self._spill():
            return
        if self._settings.overflow in (Overflow.SPOOL, Overflow.DROP_OLDEST):
            self._drop_oldest()

    def _append(self, item: Queued) -> None:
        """Writes an event to the file. The completion is written even where the file is full."""
        assert self._file is not None
        try:
            if self._file.bytes + item.size > self._settings.spool_bytes and item.kind is Kind.EVENT:
                raise SpoolFailed(f"{self._file.path} has {self._settings.spool_bytes} bytes")
            self._file.append([item])
            self._unread += 1
        except SpoolFailed as fault:
            self._drop(str(fault))

    def _drop_superseded(self) -> bool:
        """Removes the oldest event of which a newer one waits that supersedes it."""
        with self._lock:
            newest: dict[str, int] = {item.key: place for place, item in enumerate(self._memory) if item.key}
            for place, item in enumerate(self._memory):
                if item.key and newest[item.key] != place:
                    self._remove(place)
                    self.superseded += 1
                    return True
            return False

    def _drop_oldest(self) -> None:
        for place, item in enumerate(itertools.islice(self._memory, 2)):
            if item.kind is Kind.EVENT:
                self._remove(place)
                self._drop("too many events wait")
                return

    def _remove(self, place: int) -> None:
        self._bytes -= self._memory[place].size
        del self._memory[place]

    def _drop(self, why: str) -> None:
        if not self.dropped:
            log.error("event of a run is dropped, and those that find no room after it: %s", why)
        self.dropped += 1

    def take(self, most: int, most_bytes: int) -> list[Queued]:
        """The first events, at least one where there is one; the same again until they are settled."""
        with self._lock:
            size = sum(item.size for item, _ in self._taken)
            while len(self._taken) < most and (size < most_bytes or not self._taken):
                if self._unread:
                    self._read_on(most - len(self._taken))
                    size = sum(item.size for item, _ in self._taken)
                elif self._memory:
                    item = self._memory.popleft()
                    self._taken.append((item, 0))
                    size += item.size
                else:
                    break
            return [item for item, _ in itertools.islice(self._taken, most)]

    def _read_on(self, count: int) -> None:
        assert self._file is not None
        found = list(itertools.islice(self._file.read(self._read), min(count, 64)))
        if not found:
            self.refused += self._unread
            log.error("spool %s cannot be read; its %d events are lost", self._file.path, self._unread)
            self._unread = 0
        for item, end in found:
            self._taken.append((item, end))
            self._bytes += item.size
            self._unread -= 1
            self._read = end

    def settle(self, stored: int, refused: int = 0) -> None:
        """Lets the first taken events go: they are stored, but for those that were refused for good."""
        with self._lock:
            for _ in range(stored + refused):
                item, end = self._taken.popleft()
                self._bytes -= item.size
                if end and self._file is not None:
                    self._file.start = end
            self.stored += stored
            self.refused += refused
            self._since = time.monotonic()
            if self._file is not None and not self._unread and not self._taken:
                self._file.remove()
                self._file = None
        self._on_room()

    def spill(self) -> bool:
        """Writes to the disk what waits in memory; says whether it is there."""
        with self._lock:
            return self._spill()

    def _spill(self) -> bool:
        if self._file is not None:
            return True
        if not self._settings.spool:
            self._failed = "spooling is turned off"
            return False
        waiting = [item for item, _ in self._taken] + list(self._memory)
        if not waiting:
            return True
        try:
            file = self._make_spool()
        except SpoolFailed as fault:
            self._fail(str(fault))
            return False
        try:
            ends = file.append(waiting)
        except SpoolFailed as fault:
            file.remove()
            self._fail(str(fault))
            return False
        taken = len(self._taken)
        self._taken = deque((item, end) for (item, _), end in zip(self._taken, ends, strict=False))
        self._read = ends[taken - 1] if taken else file.start
        self._unread = len(waiting) - taken
        self._memory.clear()
        self._bytes = sum(item.size for item, _ in self._taken)
        self._file, self._failed = file, None
        return True

    def _fail(self, why: str) -> None:
        if self._failed is None:
            log.error("events of a run cannot be spooled; they wait in memory: %s", why)
        self._failed = why

    def note_life(self, incarnation: str) -> None:
        """Notes in the file, where there is one, that the run goes on as another incarnation."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(SpoolFailed):  # what is spooled next says so
                    self._file.note_life(incarnation)

    @property
    def must_sync(self) -> bool:
        """Whether events were spooled that a power cut would take."""
        return self._file is not None and not self._file.is_synced

    def sync(self) -> None:
        """Forces what is spooled to the disk, which takes milliseconds or more: for a thread."""
        with self._lock:
            if self._file is None or self._file.is_synced:
                return
            sync = self._file.syncing()
        sync()

    def close(self) -> tuple[int, Path | None]:
        """Ends the queue; returns how many events are unsent and the file they are in, None where they are lost.

        The file is locked until `release`.
        """
        with self._lock:
            unsent = len(self)
            if not unsent or not self._spill() or self._file is None:
                return unsent, None
            return unsent, self._file.path

    def release(self) -> None:
        """Forces the file to the disk and lets it go: for a thread."""
        self.sync()
        with self._lock:
            if self._file is not None:
                self._file.close()
