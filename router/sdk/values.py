"""The values of a run: its settings, a use of a tool, and the data of its events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from router.codec import from_json, to_json
from router.errors import BadEvent, RouterError

# A rounding error beyond 0 or 1 that `progress` still takes.
_TOLERANCE = 1e-6


class RunOver(RouterError):
    """the run has ended and takes no more events"""


class RunStopped(RouterError):
    """the run was asked to stop"""


class OutboxFull(RouterError):
    """too many events of the run wait to be stored, and none was within `wait_limit`"""


class Unsent(RouterError):
    """events of the run are lost: they could neither be stored nor spooled"""

    def __init__(self, run: str, events: int, why: str) -> None:
        super().__init__(f"{events} events of {run} are lost: {why}")
        self.run = run
        self.events = events


class Overflow(Enum):
    """What becomes of an event that finds `capacity` events waiting."""

    SPOOL = "spool"  # those that wait go to the disk; nothing waits and nothing is lost while `spool_bytes` last
    WAIT = "wait"  # the caller waits, `wait_limit` seconds at most, and then gets OutboxFull
    DROP_PROGRESS = "drop_progress"  # a progress that a newer one supersedes is left out; where there is none: WAIT
    DROP_OLDEST = "drop_oldest"  # the oldest is left out, counted, and told in the completion

    @property
    def spools(self) -> bool:
        """Whether events go to the disk while the run goes on; with the others only what is left at its end does."""
        return self is Overflow.SPOOL


@dataclass(frozen=True)
class RunSettings:
    """How a run publishes. Times in seconds."""

    ttl: float = 10.0  # of the lease
    raise_on_stop: bool = (
        False  # once the run is asked to stop, what it says next (but its completion) raises RunStopped
    )
    # A run that was ended in its place when its lease ran out goes on as a new incarnation; without it nothing of it is stored
    # any more, and `Run.lost` is set (over NATS).
    revive: bool = True
    chunk_window: float = 0.05  # chunks that are added within it become one event
    progress_interval: float = 0.1  # at most one progress event in it: the newest; the last one is never dropped
    capacity: int = 10_000  # events in memory that are not stored yet, before `overflow` decides
    overflow: Overflow = Overflow.SPOOL
    wait_limit: float = 30.0  # how long WAIT waits
    drain: float = 10.0  # how long a run that ends waits for a server that answers; what is left then is spooled
    spool: bool = True  # without it what is left at the end is raised as Unsent
    # None: CALLBOARD_SPOOL_DIR, or callboard/spool in XDG_STATE_HOME or ~/.local/state.
    spool_dir: Path | None = None
    spool_bytes: int = 64 * 1024 * 1024  # of one run on disk; what comes after that is left out and counted
    spool_after: float = 1.0  # an event that is not stored after so long goes to the disk


@dataclass(frozen=True)
class RunReport:
    """What became of a run's events. `spool` is the file in which the unsent ones wait, where they do."""

    stored: int
    unsent: int
    refused: int
    dropped: int
    spool: Path | None
    revived: bool


class ToolCall:
    """One use of a tool, or one step; set `result` before the block ends, and `tokens_used` and `cost` where they are known."""

    def __init__(self, name: str, id: str, span: str) -> None:
        """`id` is that of the event that began it, `span` what its end and what is said within refer to."""
        self.name = name
        self.id = id
        self.span = span
        self.result: Any = None
        self.success: bool | None = None
        self.tokens_used: int | None = None
        self.cost: float | None = None
        self._begun = time.monotonic()

    def seconds(self) -> float:
        """The time since it began."""
        return round(time.monotonic() - self._begun, 6)

    def usage(self) -> dict[str, Any]:
        """What it used, as far as that is known."""
        return _known({"tokens_used": self.tokens_used, "cost": self.cost})


class UsageTotal:
    """What the tools and steps of a run used together, for its completion."""

    def __init__(self) -> None:
        self._tokens: int | None = None
        self._cost: float | None = None

    def add(self, tokens_used: int | None, cost: float | None) -> None:
        """Adds what one of them used."""
        if tokens_used is not None:
            self._tokens = (self._tokens or 0) + tokens_used
        if cost is not None:
            self._cost = round((self._cost or 0.0) + cost, 9)

    def data(self) -> dict[str, Any]:
        """The totals, as far as anything was added."""
        return _known({"tokens_used": self._tokens, "cost": self._cost})


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
    """The text of an exception, as an event may have it; the name of its class where it has none."""
    return str(fault).encode(errors="replace").decode() or type(fault).__name__


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
    data: dict[str, Any] = {} if progress is None else {"progress": progress}
    if message is not None:
        data["message"] = message
    if current_step is not None:
        data["current_step"] = current_step
    if total_steps is not None:
        data["total_steps"] = total_steps
    if more:
        data.update(_known(more))
    return data


def _is_count(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and number >= 0


def _fraction(progress: object) -> float:
    """Takes a number from 0 to 1. Raises BadEvent."""
    if isinstance(progress, bool) or not isinstance(progress, (int, float)):
        raise BadEvent(f"progress is a number from 0 to 1, not {str(progress)[:40]!r}")
    if not -_TOLERANCE <= progress <= 1 + _TOLERANCE:
        raise BadEvent(f"progress is a number from 0 to 1, not {progress}")
    return min(1.0, max(0.0, float(progress)))
