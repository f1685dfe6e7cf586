"""Limits how often something may be done: a token bucket, and an even pace."""

from __future__ import annotations

# So late may a step at an even pace be and still be caught up on, in seconds: a slow moment does not lower the rate.
CATCH_UP = 0.1


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up. It may be overdrawn: then it has less than none for a while.

    Times are seconds on a clock of the caller's choice.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """The bucket begins full."""
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def left(self, now: float) -> float:
        """How many tokens there are; none or less where it was overdrawn."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return self._tokens

    def wait(self, now: float, count: float = 1.0) -> float:
        """Seconds until there are so many tokens, or as many as there can be; 0 where there are."""
        missing = min(count, self.burst) - self.left(now)
        return missing / self.rate if missing > 0 else 0.0

    def take(self, count: float) -> None:
        """Takes tokens, also those that are not there."""
        self._tokens -= count


class EvenPace:
    """`rate` steps a second, evenly spaced, in the first second too: idle time is not saved up."""

    __slots__ = ("_next", "_waited", "rate")

    def __init__(self, rate: float, now: float, next: float = 0.0) -> None:
        """`next` is when the next step may be made, where an earlier pace has said so."""
        self.rate = rate
        self._next = max(now, next)
        self._waited = False

    @property
    def next(self) -> float:
        """When the next step may be made, on the clock that `wait` is given."""
        return self._next

    def wait(self, now: float) -> float:
        """Seconds until the next step may be made; 0 where it may be."""
        left = self._next - now
        # A millionth of a second is no reason to wait.
        if left <= 1e-6:
            return 0.0
        self._waited = True
        return left

    def full(self, now: float) -> bool:
        """Whether nothing would be forgotten with it."""
        return self._next <= now

    def take(self, now: float) -> None:
        """Makes a step; `wait` has just said that it may be made, or its time was waited for."""
        # Steps that came too late because this process was late are caught up on; idle time is not saved up.
        earliest = now - CATCH_UP if self._waited else now
        self._next = max(self._next, earliest) + 1.0 / self.rate
        self._waited = self._waited and self._next <= now
