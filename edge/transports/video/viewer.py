"""What one viewer has received and not yet been given: the newest picture, or pictures that build on one another in order."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable

from edge.metrics import FRAME_DROPS
from edge.transports.video.frame import Frame, Order

# Why pictures are not shown. `slow`: a newer one came first. `behind`: the viewer skipped to the next key. `gap`: a picture
# that it builds on was lost. `old`: a newer one was shown. `rate`: the viewer asked for fewer.
DROPS = FRAME_DROPS

# A viewer that leaves a picture waiting for so long skips to the next key: what it would see is not the present any more.
BEHIND_SECONDS = 0.3
# Seconds for which one that has joined works off the pictures since the last key.
JOINING_SECONDS = 2.0
# At a key, a picture that has waited for less is still given: a busy moment is no reason to skip.
AT_KEY_SECONDS = 0.1
# 600 pictures, 32 MiB: ten seconds at 60 a second. A key comes every other second.
MOST_WAITING, MOST_WAITING_BYTES = 600, 32 << 20


def _no_key() -> None:
    """Each picture can be decoded by itself."""


class RungViewer(ABC):
    """One viewer of one rung: what has arrived for it."""

    def __init__(self) -> None:
        # Pictures that were not given, by reason (DROPS).
        self.dropped: Counter[str] = Counter()
        # Called when a picture has arrived, instead of waking `next`: saves a task switch a picture.
        self.on_arrival: Callable[[], None] | None = None
        # Asks the source for a key; at most one a second is asked for, whoever calls.
        self.ask_key: Callable[[], None] = _no_key
        self._given: Order | None = None
        self._arrived = asyncio.Event()

    @property
    @abstractmethod
    def waiting(self) -> bool:
        """Whether there is a picture to take."""

    @abstractmethod
    def offer(self, frame: Frame, now: float) -> None:
        """Takes a picture that has arrived at `now` of the loop's clock."""

    @abstractmethod
    def miss(self) -> None:
        """Notes that a picture was lost which those to come may build on."""

    @abstractmethod
    def take(self) -> Frame | None:
        """The next picture to show; None where there is none."""

    async def next(self) -> Frame:
        """Waits for the next picture."""
        while True:
            if (frame := self.take()) is not None:
                return frame
            self._arrived.clear()
            await self._arrived.wait()

    async def arrives(self, timeout: float) -> bool:
        """Waits until there is a picture to take; says whether one came in time."""
        try:
            async with asyncio.timeout(timeout):
                while not self.waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _is_old(self, frame: Frame) -> bool:
        """Whether a newer picture, or this one, was given already; a repeat of the newest is not old."""
        order = frame.order
        if order is None or self._given is None:
            return False
        return order < self._given or (order == self._given and frame.fresh)

    def _give(self, frame: Frame) -> Frame:
        self._given = frame.order or self._given
        return frame

    def _tell(self) -> None:
        self._arrived.set()
        if self.on_arrival is not None:
            self.on_arrival()


class Viewer(RungViewer):
    """A viewer of pictures of which each stands by itself: a slot for the newest."""

    def __init__(self) -> None:
        super().__init__()
        self._newest: Frame | None = None

    @property
    def waiting(self) -> bool:
        return self._newest is not None

    def offer(self, frame: Frame, now: float = 0.0) -> None:
        """Puts a picture into the slot; one that was not taken yet is dropped."""
        if self._is_old(frame):
            self.dropped["old"] += 1
            return
        if self._newest is not None and self._newest.fresh:
            if not frame.fresh and self._newest.order == frame.order:
                return  # a repeat of one that was not even shown yet
            self.dropped["slow"] += 1
        self._newest = frame
        self._tell()

    def miss(self) -> None:
        """Nothing builds on what was lost."""

    def take(self) -> Frame | None:
        frame, self._newest = self._newest, None
        return None if frame is None else self._give(frame)


class PacketViewer(RungViewer):
    """A viewer of pictures that build on those before, back to a key: all of them in order, or from a later key on."""

    def __init__(self, since_key: Iterable[Frame] = (), now: float = 0.0) -> None:
        """`since_key` are the pictures since the last key, which a viewer that joins begins with."""
        super().__init__()
        self._queue: deque[tuple[Frame, float]] = deque((frame, now + JOINING_SECONDS) for frame in since_key)
        self._bytes = sum(len(frame.payload) for frame, _ in self._queue)
        # Why it waits for the next key; None where it does not.
        self._skipping: str | None = None if self._queue else "gap"
        # Before the first picture nothing is missed.
        self._begun = bool(self._queue)

    @property
    def waiting(self) -> bool:
        return bool(self._queue)

    def offer(self, frame: Frame, now: float) -> None:
        if frame.key:
            if self._queue and now - self._queue[0][1] > AT_KEY_SECONDS:
                self._skip("behind")
            self._skipping, self._begun = None, True
        elif self._skipping is not None:
            if self._begun:
                self.dropped[self._skipping] += 1
            return
        elif self._queue and self._is_behind(now):
            self._skip("behind")
            self.dropped["behind"] += 1
            return
        self._queue.append((frame, now))
        self._bytes += len(frame.payload)
        self._tell()

    def miss(self) -> None:
        self.skip("gap")

    def skip(self, reason: str = "behind") -> None:
        """Goes on at the next key; what waits is dropped."""
        if self._skipping is None:
            self._skip(reason)

    def take(self) -> Frame | None:
        if not self._queue:
            return None
        frame, _ = self._queue.popleft()
        self._bytes -= len(frame.payload)
        return self._give(frame)

    def _is_behind(self, now: float) -> bool:
        waits = now - self._queue[0][1] > BEHIND_SECONDS
        return waits or len(self._queue) >= MOST_WAITING or self._bytes > MOST_WAITING_BYTES

    def _skip(self, reason: str) -> None:
        self.dropped[reason] += len(self._queue)
        self._queue.clear()
        self._bytes = 0
        self._skipping = reason
