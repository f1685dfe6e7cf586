"""Folds the events of one run into its latest state: how far it is, how fast it goes, how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Self

from actors.system.actor import Reject
from router.catalogue import OUTCOMES, ending, find
from router.codec import rfc3339
from router.event import Event
from router.subject import unescape

OVER = OUTCOMES
RUNNING, STOPPING = "running", "stopping"

# 500 characters of a message or an error: a state is a line on a screen, the whole text is in its event.
TEXT_CHARACTERS = 500
# A rounding error past the end is forgiven.
TOLERANCE = 1e-6
# Ten seconds: how long ago a step weighs a third in the speed that the estimate is made of.
SPEED_SECONDS = 10.0


class Change(Enum):
    """What an event did to a run's state."""

    CHANGED = "changed"
    TURNED = "turned"  # the status is another one
    LATE = "late"  # the run was over
    SECOND = "second"  # it was a second completion
    REPEATED = "repeated"  # it was a completion or a start that had been seen


@dataclass(slots=True)
class RunRecord:
    """One run, folded from its events. Times in ns since the epoch."""

    domain: str
    token: str
    started: int
    updated: int
    name: str | None = None
    incarnation: str | None = None
    status: str = RUNNING
    progress: float | None = None
    stage: str | None = None
    message: str | None = None
    rate: float | None = None
    eta_seconds: float | None = None
    error: str | None = None
    exit_code: int | None = None
    current: float | None = None
    total: float | None = None
    tokens_used: int | None = None
    leased: bool = False
    # Not part of the published state.
    ended_by: str | None = None
    measured: tuple[int, float, float] | None = None  # when, the progress and the count then
    heard: float = 0.0  # when an event came last, on the actor's clock
    told: float = -math.inf  # when the state was published last

    @property
    def key(self) -> str:
        return f"{self.domain}.{self.token}"

    @property
    def run(self) -> str:
        return unescape(self.token)

    @property
    def over(self) -> bool:
        return self.status in OVER

    def state(self) -> dict[str, Any]:
        """The published state, for readers that join late. It has every field, so that none is left over from a run before."""
        return {
            "run": self.run,
            "domain": self.domain,
            "name": self.name or self.run,
            "status": self.status,
            "progress": self.progress,
            "stage": self.stage,
            "message": self.message,
            "rate": self.rate,
            "eta_seconds": self.eta_seconds,
            "started": rfc3339(self.started),
            "updated": rfc3339(self.updated),
            "error": self.error,
            "exit_code": self.exit_code,
            "steps": {"current": self.current, "total": self.total} if self.current is not None else None,
            "tokens_used": self.tokens_used,
            "leased": self.leased,
            "incarnation": self.incarnation,
        }

    @classmethod
    def of_state(cls, event: Event) -> Self | None:
        """Rebuilds the run from its published state; None where that is invalid."""
        data = event.data
        try:
            started, updated = _ns(data["started"]), _ns(data["updated"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        status = data.get("status")
        if status not in OVER | {RUNNING, STOPPING}:
            return None
        steps = data.get("steps")
        steps = steps if isinstance(steps, Mapping) else {}
        progress = _number(data.get("progress"))
        return cls(
            event.subject.domain,
            event.subject.entity,
            started,
            updated,
            name=_text(data.get("name")),
            incarnation=_text(data.get("incarnation")),
            status=str(status),
            progress=progress if progress is None or 0 <= progress <= 1 else None,
            stage=_text(data.get("stage")),
            message=_text(data.get("message")),
            rate=_number(data.get("rate")),
            eta_seconds=_number(data.get("eta_seconds")),
            error=_text(data.get("error")),
            exit_code=_whole(data.get("exit_code")),
            current=_number(steps.get("current")),
            total=_number(steps.get("total")),
            tokens_used=_whole(data.get("tokens_used")),
            leased=data.get("leased") is True,
        )

    def begin(self, event: Event) -> Change:
        """Takes a workflow_start: of a run that is new, or of its next incarnation."""
        incarnation = _text(event.data.get("incarnation")) or event.id
        if incarnation == self.incarnation:
            return Change.REPEATED
        fresh = RunRecord(self.domain, self.token, event.time, event.time)
        fresh.name = _text(event.data.get("name")) or self.name
        fresh.message = _text(event.data.get("message"))
        fresh.incarnation = incarnation
        fresh.heard, fresh.told = self.heard, self.told
        for field in self.__slots__:
            setattr(self, field, getattr(fresh, field))
        return Change.TURNED

    def fold(self, event: Event) -> Change:
        """Takes any other event. Raises Reject for an invalid one; the state then stays as it was."""
        if (outcome := ending(self.domain, event.type, event.data)) is not None:
            return self._end(event, outcome)
        if self.over:
            return Change.LATE
        turned = False
        if find(event.type, self.domain).progress:
            self._go_on(event)
        match event.type:
            case "error":
                self.error = _text(event.data.get("error")) or _text(event.data.get("message")) or "error"
            case "stopping" if self.status != STOPPING:
                self.status, turned = STOPPING, True
            case "workflow_step":
                self.stage = _first(event.data, "stage", "step", "name") or self.stage
                self.message = _text(event.data.get("message")) or self.message
            case "status":
                self.stage = _text(event.data.get("stage")) or self.stage
                self.message = _first(event.data, "message", "content") or self.message
        self.updated = max(self.updated, event.time)
        return Change.TURNED if turned else Change.CHANGED

    def _go_on(self, event: Event) -> None:
        data = event.data
        share, current, total = (
            _share(data),
            _count(data, "current", "current_step", "currentFrame"),
            _count(data, "total", "total_steps", "totalFrames"),
        )
        given = {"rate": _count(data, "rate"), "eta_seconds": _count(data, "eta_seconds", "estimatedTimeRemaining")}
        if share is None and current is not None and total:
            share = min(1.0, current / total)
        if current is not None:
            if self.current is None:
                self.measured = None  # it was the progress that was measured until now
            self.current, self.total = current, total
        if share is not None:
            # Never backwards inside a run: a second bar, a retried step or a late event does not undo what was shown.
            self.progress = max(share, self.progress or 0.0)
            self._measure(event.time)
        if given["rate"] is not None:
            self.rate = given["rate"]
        if given["eta_seconds"] is not None:
            self.eta_seconds = given["eta_seconds"]
        self.stage = _first(data, "stage", "current_step") or self.stage
        self.message = _text(data.get("message")) or self.message

    def _measure(self, time: int) -> None:
        """Works out the rate a second (of the counts where there are some, else of the progress) and what is left."""
        assert self.progress is not None
        count = self.current if self.current is not None else self.progress
        if self.measured is None:
            self.measured = (time, self.progress, count)
            return
        then, progress, counted = self.measured
        # Under 50 ms a step says more about the scheduler than about the work: it is measured together with the next.
        passed = (time - then) / 1e9
        if passed < 0.05:
            return
        done, counts = self.progress - progress, count - counted
        self.measured = (time, self.progress, count)
        weight = 1.0 - math.exp(-passed / SPEED_SECONDS)
        rate = max(0.0, counts / passed)
        self.rate = round(rate if self.rate is None else self.rate + weight * (rate - self.rate), 6)
        left = 1.0 - self.progress
        if left <= 0:
            self.eta_seconds = 0.0
        elif self.total and self.current is not None and self.rate > 0:
            self.eta_seconds = round(max(0.0, self.total - self.current) / self.rate, 1)
        elif self.current is None and self.rate > 0:
            self.eta_seconds = round(left / self.rate, 1)
        elif done > 0:
            self.eta_seconds = round(left / (done / passed), 1)

    def _end(self, event: Event, outcome: str) -> Change:
        data = event.data
        if self.over:
            return Change.REPEATED if event.id == self.ended_by else Change.SECOND
        success, code, tokens = data.get("success"), data.get("exit_code"), data.get("tokens_used")
        error = _text(data.get("error"))
        if success is not None and not isinstance(success, bool):
            raise Reject("success must be true or false")
        if code is not None and _whole(code) is None:
            raise Reject("exit_code must be a whole number")
        if tokens is not None and _whole(tokens) is None:
            raise Reject("tokens_used must be a whole number")
        self.status = outcome
        match outcome:
            case "completed":
                self.progress, self.error = 1.0, None
            case "cancelled":
                self.error = error
            case _:
                self.error = error or self.error or _text(data.get("message")) or "failed"
        self.exit_code = _whole(code)
        self.tokens_used = _whole(tokens) if tokens is not None else self.tokens_used
        self.message = _text(data.get("message")) or self.message
        self.eta_seconds = None
        self.ended_by = event.id
        self.updated = max(self.updated, event.time)
        return Change.TURNED


def _share(data: Mapping[str, Any]) -> float | None:
    """Reads the progress: from 0 to 1, or from 0 to 100 where `percent` says so. Raises Reject."""
    percent, progress = data.get("percent"), data.get("progress")
    if isinstance(percent, bool):
        flagged = percent
    else:
        flagged = progress is None and percent is not None
        progress = percent if flagged else progress
    if progress is None:
        return None
    share = _number(progress)
    if share is None:
        raise Reject(f"progress must be a number, not {str(progress)[:40]!r}")
    share = share / 100 if flagged else share
    if not -TOLERANCE <= share <= 1 + TOLERANCE:
        raise Reject(f"progress must be from 0 to 1, not {share:g}; a percentage is given as percent")
    return min(1.0, max(0.0, share))


def _count(data: Mapping[str, Any], *names: str) -> float | None:
    """Reads a number that is not negative; a step may also be a name. Raises Reject."""
    for name in names:
        value = data.get(name)
        if value is None or (name == "current_step" and isinstance(value, str)):
            continue
        number = _number(value)
        if number is None or number < 0:
            raise Reject(f"{name} must be a number from 0 up, not {str(value)[:40]!r}")
        return number
    return None


def _first(data: Mapping[str, Any], *names: str) -> str | None:
    return next((text for name in names if (text := _text(data.get(name)))), None)


def _text(value: object) -> str | None:
    return value[:TEXT_CHARACTERS] if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
