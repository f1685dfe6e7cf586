"""Keeps the faults that a simulated Octane is to show: each can be asked for, and taken back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from enum import Enum


class OctaneFault(Enum):
    """One way in which an Octane misleads its clients. The first four happen once, the others last."""

    SLOT = "slot"  # another client registers: the loser's stream ends, and it is told nothing until it registers again
    STREAM = "stream"  # open streams break with UNAVAILABLE; registrations stay
    RESTART = "restart"  # the process dies with all its state, and listens again on the same port
    LATE = "late"  # a picture of the change level before comes after one of the newer

    HANG = "hang"  # connections are accepted, and nothing is answered: a modal dialog, a compilation
    SHORT = "short"  # pictures arrive with a quarter of their bytes
    DUPLICATE = "duplicate"  # every event comes twice
    UNKNOWN_STATUS = "unknown-status"  # streams end with UNKNOWN
    REFUSED_CALLBACKS = "refused-callbacks"  # registrations are answered UNKNOWN; events come unasked
    SHARED_SURFACE = "shared-surface"  # pictures lie on a surface of the graphics card: no size, no bytes
    COMPRESSED = "compressed"  # pictures are BC1 textures
    WIDE = "wide"  # pictures are wider than a JPEG may be
    HUGE = "huge"  # 64 bytes claim to be a picture of 16384 x 16384
    HELD = "held"  # a grab finds nothing until the one before is released
    PENDING = "pending"  # pictures and statistics have pending updates

    @property
    def lasts(self) -> bool:
        """Says whether the fault goes on until its time is over or it is cleared."""
        return self not in (OctaneFault.SLOT, OctaneFault.STREAM, OctaneFault.RESTART, OctaneFault.LATE)


class FaultBoard:
    """The lasting faults that are on, and until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[OctaneFault, float] = {}
        self._changed = asyncio.Event()

    def __contains__(self, fault: OctaneFault) -> bool:
        return self._until.get(fault, -math.inf) > self._clock()

    def start(self, fault: OctaneFault, seconds: float) -> None:
        """Shows a fault for so long; counted anew where it is on already."""
        self._until[fault] = self._clock() + seconds
        self._wake()

    def end(self, fault: OctaneFault | None) -> None:
        """Ends one fault, or all of them."""
        for each in [fault] if fault is not None else list(self._until):
            self._until.pop(each, None)
        self._wake()

    async def over(self, fault: OctaneFault) -> None:
        """Waits until a fault is off."""
        while fault in self:
            changed, left = self._changed, self._until[fault] - self._clock()
            try:
                async with asyncio.timeout(None if left == math.inf else max(left, 0)):
                    await changed.wait()
            except TimeoutError:
                pass

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
