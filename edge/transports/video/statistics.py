"""Measures what viewers are delivered, for each source and transport: rate, drops by reason, bytes, and age at the viewer."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge import metrics
from edge.transports.video.frame import Frame

# 2000 ages: eight viewers at 30 a second for eight seconds. Of more the oldest are left out.
MOST_AGES = 2000
# A clock that differs by more than that is no measure.
MOST_AGE_MS = 600_000.0


@dataclass
class TransportCounts:
    """What the viewers of one source were delivered over one transport."""

    transport: str
    viewers: int = 0
    delivered: int = 0
    repeated: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    # Milliseconds from the capture to the paint, or to the acknowledgement, or until the client's kernel had it.
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_AGES))

    def __post_init__(self) -> None:
        # Finding a metric by its labels takes longer than counting, and each picture of each viewer is counted.
        self._all_bytes = metrics.frames_bytes.labels(self.transport)
        self._all_sent = metrics.frames.labels(self.transport)
        self._all_repeated = metrics.frames_repeated.labels(self.transport)
        self._all_ages = metrics.frames_age.labels(self.transport)

    def sent(self, frame: Frame, size: int) -> None:
        """Counts a picture that was sent; a repeat is no new one."""
        self.bytes += size
        self._all_bytes.add(size)
        if frame.fresh:
            self.delivered += 1
            self._all_sent.add(1)
        else:
            self.repeated += 1
            self._all_repeated.add(1)

    def drop(self, reasons: Mapping[str, int]) -> None:
        """Counts pictures that were not sent, by reason."""
        self.dropped.update(reasons)
        for reason, count in reasons.items():
            metrics.frames_dropped.labels(self.transport).inc(count)
            metrics.frames_dropped_by_reason.labels(self.transport, reason).inc(count)

    def aged(self, milliseconds: float) -> None:
        """Notes how old a picture was when its viewer saw it."""
        if -MOST_AGE_MS < milliseconds < MOST_AGE_MS:
            milliseconds = max(0.0, milliseconds)
            self.ages.append(milliseconds)
            self._all_ages.observe_many(milliseconds / 1000, 1)

    def summary(self, seconds: float) -> dict[str, Any]:
        """What was counted in so many seconds; begins to count anew. `fps` and `bytes_per_second` are those of all viewers."""
        ages = sorted(self.ages)
        found = {
            "viewers": self.viewers,
            "fps": round(self.delivered / seconds, 2),
            "bytes_per_second": round(self.bytes / seconds),
            "repeated": self.repeated,
            "dropped": {reason: count for reason, count in self.dropped.items() if count},
            "age_ms": {"p50": round(ages[len(ages) // 2], 1), "p99": round(ages[len(ages) * 99 // 100], 1)}
            if ages
            else None,
        }
        self.delivered = self.repeated = self.bytes = 0
        self.dropped.clear()
        self.ages.clear()
        return found


class SourceCounts:
    """What the viewers of one source were delivered by this process."""

    def __init__(self) -> None:
        self.transports: dict[str, TransportCounts] = {}

    def of(self, transport: str) -> TransportCounts:
        """The counts of one transport."""
        return self.transports.setdefault(transport, TransportCounts(transport))

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return sum(each.viewers for each in self.transports.values())

    def summary(self, seconds: float) -> dict[str, Any]:
        """What was counted in so many seconds, by transport."""
        return {
            "viewers": self.viewers,
            "transports": {name: each.summary(seconds) for name, each in self.transports.items()},
        }
