"""Tells of pictures that arrive which of them was captured after a request, by the capture's own clock."""

from __future__ import annotations

from edge.transports.video.frame import Frame

# A capture that seems to lie so far in the future was timed by another clock than ours.
AHEAD_MS = 100.0
# Longer than any picture takes from its capture to the edge.
LATENCY_MS = 2000.0


class NextCapture:
    """Waits for a picture captured at `since` (ms since the epoch) or later; a picture of before may be `max_age` s old.

    Where the camera's clock differs from ours, its times say nothing about ours: then the first picture is taken that was
    captured so long after another one had arrived that it must be newer than the request.
    """

    def __init__(self, since: float, max_age: float | None = None) -> None:
        self._since = since if max_age is None else since - max_age * 1000.0
        self._times: list[float] = []

    def takes(self, frame: Frame, arrived: float) -> bool:
        """Whether this is the picture, which has arrived at a time in ms since the epoch."""
        captured = captured_at(frame)
        if captured is None:
            captured = arrived
        elif captured - arrived <= AHEAD_MS and captured >= self._since:
            return True
        if self._times and captured <= self._times[-1]:
            return False  # the same capture again
        self._times = [*self._times[:1], captured] if len(self._times) < 2 else self._times
        # The first may have been stored before the request; the second has certainly just been sent.
        return len(self._times) > 1 and captured - self._times[1] >= LATENCY_MS


def captured_at(frame: Frame) -> float | None:
    """When a picture was captured, in ms since the epoch; None where it does not say."""
    time = frame.header.get("time")
    return float(time) if isinstance(time, (int, float)) and not isinstance(time, bool) else None
