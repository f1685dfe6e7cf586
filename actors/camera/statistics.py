"""Measures what a camera captures, encodes and sends, by rung, and counts what it drops, by reason."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

from actors.camera import metrics
from actors.camera.pacing import WINDOW, CaptureMeter
from router.rungs import Rung

# late: not captured in time; bad: could not be read or encoded; encoder: it was busy and a newer picture came; broker: NATS
# was away, slow, or the picture too large.
REASONS: Final = ("late", "bad", "encoder", "broker")

# 10 s at 30 pictures a second: enough for a 99th percentile.
MAX_TIMES = 300


class _RungMeter:
    def __init__(self) -> None:
        self.meter = CaptureMeter()
        self.seconds: deque[float] = deque(maxlen=MAX_TIMES)

    def described(self, now: float) -> dict[str, Any]:
        return {"fps": _rate(self.meter, now), "bytes_per_second": _bytes(self.meter, now), "encode_ms": self._times()}

    def _times(self) -> dict[str, float] | None:
        """None of pictures that the source encoded."""
        if not self.seconds:
            return None
        times = sorted(self.seconds)
        return {
            name: round(1000 * times[int(share * (len(times) - 1))], 2) for name, share in (("p50", 0.5), ("p99", 0.99))
        }


class CameraStatistics:
    """The figures of one camera. `frames` and `drops` count since it began; rates are those of the last two seconds."""

    def __init__(self) -> None:
        self.frames = 0
        self.drops: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.begin()
        self._newest = -1

    def begin(self) -> None:
        """Begins to measure rates anew."""
        self.sent = CaptureMeter()
        self._captured = CaptureMeter()
        self._rungs: dict[Rung, _RungMeter] = {}

    @property
    def dropped(self) -> int:
        """All that was dropped."""
        return self.drops.total()

    def note_captured(self, now: float) -> None:
        """Notes a new picture of the source."""
        self._captured.mark(now)
        metrics.CAPTURED.inc()

    def note_sent(self, now: float, rung: Rung, seq: int, size: int, seconds: float) -> None:
        """Notes a picture that was sent of a rung, its bytes, and how long it took to encode (0: not encoded here)."""
        if seq > self._newest:
            self._newest = seq
            self.frames += 1
            self.sent.mark(now)
        meter = self._rungs.setdefault(rung, _RungMeter())
        meter.meter.mark(now, size)
        metrics.SENT.labels(rung.token).inc()
        metrics.SENT_BYTES.labels(rung.token).inc(size)
        if seconds:
            meter.seconds.append(seconds)
            metrics.ENCODE_SECONDS.labels(rung.token).observe(seconds)

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts dropped pictures."""
        if count:
            self.drops[reason] += count
            metrics.DROPPED.labels(reason).inc(count)

    def described(self, now: float, streaming: bool, watched: Mapping[Rung, int]) -> dict[str, Any]:
        """The data of the event `statistics`; `watched` says how many leases and taps each rung has."""
        rungs = {rung: self._rungs[rung].described(now) for rung in watched if streaming and rung in self._rungs}
        rate = _rate(self.sent, now) if streaming else 0.0
        return {
            "fps": rate,
            "capture_fps": _rate(self._captured, now) if streaming else 0.0,
            "frames": self.frames,
            "bytes_per_second": sum(rung["bytes_per_second"] for rung in rungs.values()),
            "jitter_ms": round(self.sent.jitter_ms, 2) if rate else 0.0,
            "viewers": sum(watched.values()),
            "dropped": self.dropped,
            "drops": {reason: self.drops[reason] for reason in REASONS},
            "rungs": {rung.token: {**figures, "viewers": watched[rung]} for rung, figures in rungs.items()},
        }


def _rate(meter: CaptureMeter, now: float) -> float:
    return round(meter.fps, 2) if _is_current(meter, now) else 0.0


def _bytes(meter: CaptureMeter, now: float) -> int:
    return round(meter.bytes_per_second) if _is_current(meter, now) else 0


def _is_current(meter: CaptureMeter, now: float) -> bool:
    """Whether the figures are those of now: a source that stands still has none, a picture in ten seconds is a rate."""
    return meter.age(now) <= max(WINDOW, 2.0 / meter.fps if meter.fps else 0.0)
