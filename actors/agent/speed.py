"""Works out how fast something goes, and how long it still takes."""

from __future__ import annotations

import math

import msgspec

# Ten seconds: how long ago a step weighs a third in the speed that the estimate is made of.
SPEED_SECONDS = 10.0
# Under 50 ms a step says more about the scheduler than about the work: it is measured together with the next.
MIN_SECONDS = 0.05


class Measured(msgspec.Struct, gc=False):
    """How far something was when it was measured last. `count` is a share where nothing is counted."""

    time: int  # ns
    progress: float
    count: float
    counted: bool


class Speed(msgspec.Struct, gc=False):
    """What a new measurement gave; None where it says nothing new. The rate is a second's, of counts or of the share."""

    measured: Measured
    rate: float | None = None
    eta_seconds: float | None = None


def measure(
    before: Measured | None, rate: float | None, time: int, progress: float, current: float | None, total: float | None
) -> Speed:
    """Takes how far it is at `time` (ns), and the rate until now."""
    counted = current is not None
    now = Measured(time, progress, current if current is not None else progress, counted)
    if before is None or before.counted != counted:
        return Speed(now)
    passed = (time - before.time) / 1e9
    if passed < MIN_SECONDS:
        return Speed(before)
    done, counts = progress - before.progress, now.count - before.count
    latest = max(0.0, counts / passed)
    weight = 1.0 - math.exp(-passed / SPEED_SECONDS)
    rate = round(latest if rate is None else rate + weight * (latest - rate), 6)
    left = 1.0 - progress
    eta: float | None = None
    if left <= 0:
        eta = 0.0
    elif total and current is not None and rate > 0:
        eta = round(max(0.0, total - current) / rate, 1)
    elif not counted and rate > 0:
        eta = round(left / rate, 1)
    elif done > 0:
        eta = round(left / (done / passed), 1)
    return Speed(now, rate, eta)
