"""Credit of one viewer: how many pictures may be under way to a client that says which it has shown.

The kernels between hold megabytes, so without it a slow client would see what was seconds ago. The window follows the
delay, as in TCP Vegas: it grows while pictures come back as quickly as the quickest did, so that a long way is filled, and
shrinks where they wait for one another.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# 2: one is shown while the other is under way. 16 hold 60 pictures a second at a round trip of 200 ms.
LEAST_WINDOW, MOST_WINDOW = 2, 16
# Of pictures that build on one another none can be left out, so the window begins with what holds 30 a second at 200 ms.
PACKET_WINDOW = 8
# Pictures that wait for others on their way: below the first the window grows, above the other it shrinks.
FEW_QUEUED, MANY_QUEUED = 0.5, 1.2
# Seconds after which it is checked whether pictures still come back about as quickly as the quickest did. Where none does,
# the way has become longer, or pictures have waited for one another all the time: one is sent alone, to measure it anew.
QUICKEST_SECONDS, MUCH_SLOWER = 10.0, 1.25


class PictureSent(NamedTuple):
    """A picture that was sent: its life and number, its capture time in ms, when it was sent, and whether none was under way."""

    life: int
    seq: int
    time: float
    at: float
    alone: bool


class Credit:
    """What one client was sent and has not shown yet. Until it says `shown` for the first time nothing is counted."""

    def __init__(self, window: int = LEAST_WINDOW) -> None:
        self.acknowledges = False
        self.window = window
        self._under_way: deque[PictureSent] = deque(maxlen=4 * MOST_WINDOW)
        # The quickest answer of all, and of the last seconds.
        self._quickest = self._recent = float("inf")
        self._measured = 0.0
        # Whether the next picture waits until none is under way.
        self._measures = False
        self._filled = False

    @property
    def under_way(self) -> int:
        """How many pictures were sent and not shown."""
        return len(self._under_way)

    @property
    def open(self) -> bool:
        """Whether another picture may be sent."""
        if not self.acknowledges or not self._under_way:
            return True
        if self._measures:
            return False
        if len(self._under_way) < self.window:
            return True
        self._filled = True
        return False

    def sent(self, life: int, seq: int, time: float, now: float) -> None:
        """Notes that a picture was sent."""
        self._under_way.append(PictureSent(life, seq, time, now, not self._under_way))

    def shown(self, seq: int, life: int | None, now: float) -> PictureSent | None:
        """Notes that a client has shown a picture, and all before it; None for one that is not under way."""
        found = None
        for each in self._under_way:
            if each.seq == seq and (life is None or life == each.life):
                found = each
                break
        if not self.acknowledges:
            self.acknowledges = True
            self._measured = now
        if found is None:
            return None
        while self._under_way.popleft() is not found:
            pass
        self._adjust(now - found.at, now, found.alone)
        return found

    def _adjust(self, took: float, now: float, alone: bool) -> None:
        self._recent = min(self._recent, took)
        if alone and self._measures:
            self._quickest, self._measures = took, False
            self._measured, self._recent = now, took
        elif now - self._measured > QUICKEST_SECONDS:
            self._measures = self._recent > MUCH_SLOWER * self._quickest
            self._measured, self._recent = now, float("inf")
        self._quickest = min(self._quickest, took)
        if alone:
            return  # it had nothing to wait for, so it says nothing of the window
        queued = self.window * (1 - self._quickest / took) if took > 0 else 0.0
        if queued > MANY_QUEUED and self.window > LEAST_WINDOW:
            self.window -= 1
        elif queued < FEW_QUEUED and self._filled and self.window < MOST_WINDOW:
            self.window += 1
        self._filled = False
