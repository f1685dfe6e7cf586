"""Reads how far a run is from the data of an event, and keeps later events of it from going back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# A rounding error beyond 0 or 1 that is still read.
TOLERANCE = 1e-6
# The fields that hold a count and what it is out of, in the words of the types that carry progress.
COUNTS = (("current", "total"), ("current_step", "total_steps"), ("currentFrame", "totalFrames"))


def share(data: Mapping[str, Any]) -> float | None:
    """Reads how far the work is, from 0 to 1; None where the data does not say, or says it in no valid way.

    `progress` is from 0 to 1, and from 0 to 100 where `percent` is true; `percent` as a number is from 0 to 100; else the
    share is worked out from a count and its total.
    """
    percent, progress = data.get("percent"), data.get("progress")
    if progress is not None:
        return _fraction(progress, 100 if percent is True else 1)
    if percent is not None and not isinstance(percent, bool):
        return _fraction(percent, 100)
    for count, whole in COUNTS:
        current, total = _number(data.get(count)), _number(data.get(whole))
        if current is not None and total:
            return _fraction(min(current, total), total)
    return None


def forward(data: Mapping[str, Any], floor: float) -> Mapping[str, Any]:
    """Raises what says how far the work is to at least `floor`, a share; all other fields are kept.

    Returns the same map where it is not below. A count is raised along with the share, towards its own total.
    """
    said = share(data)
    if said is None or said >= floor:
        return data
    raised = dict(data)
    scaled = 100 if data.get("percent") is True else 1
    if data.get("progress") is not None or _number(data.get("percent")) is None:
        raised["progress"] = floor * scaled
    if _number(data.get("percent")) is not None:
        raised["percent"] = floor * 100
    for count, whole in COUNTS:
        current, total = _number(data.get(count)), _number(data.get(whole))
        if current is not None and total and current < floor * total:
            exact = floor * total
            # A count of whole things stays one. Rounded down it may lie below an earlier count by a rounding error of the share.
            raised[count] = round(exact) if isinstance(data[count], int) else exact
    return raised


def _fraction(value: object, whole: float) -> float | None:
    number = _number(value)
    if number is None or not -TOLERANCE <= number / whole <= 1 + TOLERANCE:
        return None
    return min(1.0, max(0.0, number / whole))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
