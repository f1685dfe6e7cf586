"""The values of a run: its settings, a use of a tool, and the data of its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadEvent, RouterError

# A rounding error beyond 0 or 1 that `progress` still takes.
_TOLERANCE = 1e-6


class RunOver(RouterError):
    """the run has ended and takes no more events"""


class RunStopped(RouterError):
    """the run was asked to stop"""


@dataclass(frozen=True)
class RunSettings:
    """How a run publishes. Times in seconds."""

    ttl: float = 10.0  # of the lease
    chunk_window: float = 0.05  # chunks that are added within it become one event
    progress_interval: float = 0.1  # at most one progress event in it: the newest; the last one is never dropped
    capacity: int = 1000  # events not yet stored, before adding one more waits
    drain: float = 10.0  # how long a run that ends waits until everything is stored


class ToolCall:
    """One use of a tool; set `result` before the block ends."""

    def __init__(self, name: str, id: str) -> None:
        self.name = name
        self.id = id
        self.result: Any = None
        self.success: bool | None = None
        self.tokens_used: int | None = None


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Turns values that msgpack does not know into text. Raises BadEvent."""
    try:
        found: dict[str, Any] = from_json(to_json(data))
    except RecursionError:
        raise BadEvent("data contains itself") from None
    except UnicodeEncodeError:
        raise BadEvent("data contains text that is not valid Unicode") from None
    return found


def text_of(fault: BaseException) -> str:
    """The text of an exception; the name of its class where it has none."""
    return str(fault) or type(fault).__name__


def error_data(
    error: str | BaseException,
    error_type: str | None,
    recoverable: bool,
    retry_count: int | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The data of an `error` event."""
    if isinstance(error, BaseException):
        error_type = error_type or type(error).__name__
        error = text_of(error)
    data = {"error": error, "error_type": error_type or "error", "recoverable": recoverable}
    return {**data, **({"retry_count": retry_count} if retry_count is not None else {}), **more}


def progress_data(
    progress: float | None,
    message: str | None,
    current_step: int | str | None,
    total_steps: int | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The data of a `progress` event; without a number it is worked out from the steps. Raises BadEvent."""
    if progress is None and _is_count(current_step) and _is_count(total_steps) and total_steps:
        progress = min(1.0, float(current_step) / float(total_steps))  # type: ignore[arg-type]
    if progress is not None:
        progress = _fraction(progress)
    given = {"progress": progress, "message": message, "current_step": current_step, "total_steps": total_steps}
    return {key: value for key, value in {**given, **more}.items() if value is not None}


def _is_count(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and number >= 0


def _fraction(progress: object) -> float:
    """Takes a number from 0 to 1. Raises BadEvent."""
    if isinstance(progress, bool) or not isinstance(progress, (int, float)):
        raise BadEvent(f"progress is a number from 0 to 1, not {str(progress)[:40]!r}")
    if not -_TOLERANCE <= progress <= 1 + _TOLERANCE:
        raise BadEvent(f"progress is a number from 0 to 1, not {progress}")
    return min(1.0, max(0.0, float(progress)))
