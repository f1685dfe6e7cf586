"""Reads the fields of a run's events: shares, counts, numbers and short texts. What a field cannot be raises Reject."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actors.system.actor import Reject
from router.event_types.declaration import PARENTS

# 500 characters of a message or an error: a state is a line on a screen, the whole text is in its event.
MAX_TEXT = 500
# A rounding error past the end is forgiven.
TOLERANCE = 1e-6


def share(data: Mapping[str, Any]) -> float | None:
    """Reads the progress: from 0 to 1, or from 0 to 100 where `percent` says so. Raises Reject."""
    percent, progress = data.get("percent"), data.get("progress")
    if isinstance(percent, bool):
        flagged = percent
    else:
        flagged = progress is None and percent is not None
        progress = percent if flagged else progress
    if progress is None:
        return None
    found = number(progress)
    if found is None:
        raise Reject(f"progress must be a number, not {str(progress)[:40]!r}")
    found = found / 100 if flagged else found
    if not -TOLERANCE <= found <= 1 + TOLERANCE:
        raise Reject(f"progress must be from 0 to 1, not {found:g}; a percentage is given as percent")
    return min(1.0, max(0.0, found))


def count(data: Mapping[str, Any], *names: str) -> float | None:
    """Reads a number that is not negative; a step may also be a name. Raises Reject."""
    for name in names:
        value = data.get(name)
        if value is None or (name == "current_step" and isinstance(value, str)):
            continue
        found = number(value)
        if found is None or found < 0:
            raise Reject(f"{name} must be a number from 0 up, not {str(value)[:40]!r}")
        return found
    return None


def tokens(data: Mapping[str, Any]) -> int | None:
    """Reads `tokens_used`. Raises Reject."""
    value = data.get("tokens_used")
    if value is None:
        return None
    if (found := whole(value)) is None:
        raise Reject("tokens_used must be a whole number")
    return found


def first(data: Mapping[str, Any], *names: str) -> str | None:
    """The first of some fields that is a text."""
    return next((found for name in names if (found := text(data.get(name)))), None)


def parent(data: Mapping[str, Any]) -> str | None:
    """The run or step that an event is part of; see `router.event_types.declaration.PARENTS`."""
    return first(data, *PARENTS)


def text(value: object) -> str | None:
    """A text that is not empty, cut to what a state shows; None for all else."""
    return value[:MAX_TEXT] if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """A finite number; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def amount(value: object) -> float | None:
    """A finite number that is not negative; None for all else."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def whole(value: object) -> int | None:
    """A whole number; None for all else."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def ns(moment: str) -> int:
    """A time in RFC 3339 as ns since the epoch. Raises ValueError or OverflowError."""
    read = datetime.fromisoformat(moment)
    return int(read.timestamp()) * 1_000_000_000 + read.microsecond * 1000
