"""Folds the events of one run into its latest state: how far it is, how fast it goes, how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from actors.agent.fields import amount, count, first, ns, number, parent, share, text, tokens, whole
from actors.agent.speed import Measured, measure
from actors.agent.stages import MAX_STAGES, ChildRun, Stages
from actors.system.actor import Reject
from router.catalogue import OUTCOMES, ending, find
from router.codec import rfc3339
from router.event import Event
from router.subject import unescape

OVER = OUTCOMES
RUNNING, STOPPING = "running", "stopping"
# The events that a run's stages are made of, beside those that carry progress, tokens or a cost.
_OF_STAGES = frozenset({"workflow_step", "tool_use", "tool_result", "workflow_complete"})


class Change(Enum):
    """What an event did to a run's state."""

    CHANGED = "changed"
    TURNED = "turned"  # the status is another one
    LATE = "late"  # the run was over
    SECOND = "second"  # it was a second completion
    REPEATED = "repeated"  # it was a completion or a start that had been seen
    SUPERSEDED = "superseded"  # it was of an incarnation before


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
    cost: float | None = None
    parent: str | None = None
    picture: str | None = None  # a link, from its end
    leased: bool = False
    stages: Stages | None = None  # published apart from the state
    # Not published.
    ended_by: str | None = None
    measured: Measured | None = None
    heard: float = 0.0  # when an event came last, on the actor's clock
    told: float = -math.inf  # when the state was published last
    stages_told: float = -math.inf

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
        spent, cost = self._totals()
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
            "tokens_used": spent,
            "cost": cost,
            "duration": round(max(0, self.updated - self.started) / 1e9, 6) if self.over else None,
            "parent": self.parent,
            "picture": self.picture,
            "stage_count": len(self.stages) + self.stages.left_out if self.stages is not None else 0,
            "leased": self.leased,
            "incarnation": self.incarnation,
        }

    def child(self) -> ChildRun:
        """What the parent run shows of this one."""
        spent, cost = self._totals()
        return ChildRun(
            self.key, self.name or self.run, self.parent, self.started, self.status, self.updated, self.over,
            self.progress, spent, cost, self.error,
        )  # fmt: skip

    def take_child(self, run: RunRecord) -> None:
        """Shows a child run among the stages."""
        self._stages().child(run.child())

    def _totals(self) -> tuple[int | None, float | None]:
        """Tokens and cost: what the run itself said at its end, else the larger of what it said and what its stages took."""
        if self.stages is None or (self.over and self.tokens_used is not None and self.cost is not None):
            return self.tokens_used, self.cost
        spent, cost = self.stages.totals()
        if self.over:
            return (
                self.tokens_used if self.tokens_used is not None else spent,
                self.cost if self.cost is not None else cost,
            )
        return _larger(self.tokens_used, spent), _larger(self.cost, cost)

    @classmethod
    def of_state(cls, event: Event) -> Self | None:
        """Rebuilds the run from its published state; None where that is invalid."""
        data = event.data
        try:
            started, updated = ns(data["started"]), ns(data["updated"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        status = data.get("status")
        if status not in OVER | {RUNNING, STOPPING}:
            return None
        steps = data.get("steps")
        steps = steps if isinstance(steps, Mapping) else {}
        progress = number(data.get("progress"))
        return cls(
            event.subject.domain,
            event.subject.entity,
            started,
            updated,
            name=text(data.get("name")),
            incarnation=text(data.get("incarnation")),
            status=str(status),
            progress=progress if progress is None or 0 <= progress <= 1 else None,
            stage=text(data.get("stage")),
            message=text(data.get("message")),
            rate=number(data.get("rate")),
            eta_seconds=number(data.get("eta_seconds")),
            error=text(data.get("error")),
            exit_code=whole(data.get("exit_code")),
            current=number(steps.get("current")),
            total=number(steps.get("total")),
            tokens_used=whole(data.get("tokens_used")),
            cost=amount(data.get("cost")),
            parent=text(data.get("parent")),
            picture=text(data.get("picture")),
            leased=data.get("leased") is True,
        )

    def begin(self, event: Event) -> Change:
        """Takes a workflow_start: of a run that is new, or of its next incarnation. One that resumes keeps the progress."""
        data = event.data
        incarnation = text(data.get("incarnation")) or event.id
        if incarnation == self.incarnation:
            return Change.REPEATED
        name, message = text(data.get("name")) or self.name, text(data.get("message"))
        if data.get("resumed") is True:
            self.status, self.error, self.exit_code, self.ended_by, self.picture = RUNNING, None, None, None, None
            self.measured, self.rate, self.eta_seconds = None, None, None
            self.message = message or self.message
            self.updated = max(self.updated, event.time)
        else:
            self._reset(RunRecord(self.domain, self.token, event.time, event.time, message=message))
        self.name, self.incarnation = name, incarnation
        self.parent = parent(data) or self.parent
        # The next lease is of this life.
        self.leased = False
        return Change.TURNED

    def fold(self, event: Event) -> Change:
        """Takes any other event. Raises Reject for an invalid one; the state then stays as it was."""
        said = text(event.data.get("incarnation"))
        if said is not None and self.incarnation not in (None, said):
            return Change.SUPERSEDED
        if (outcome := ending(self.domain, event.type, event.data)) is not None:
            change = self._end(event, outcome)
        elif self.over and not self._is_conversation:
            return Change.LATE
        elif self.over:
            # The next answer of a thread, whose begin nothing says.
            fresh = RunRecord(self.domain, self.token, event.time, event.time, name=self.name)
            fresh._go_on(event)
            self._reset(fresh)
            change = Change.TURNED
        else:
            change = self._go_on(event)
        if change in (Change.CHANGED, Change.TURNED):
            self.incarnation = self.incarnation or said
            self.updated = max(self.updated, event.time)
        return change

    def _go_on(self, event: Event) -> Change:
        """Takes an event of the run or of one of its stages."""
        data = event.data
        if find(event.type, self.domain).progress:
            if self._is_of_stage(data):
                self._stages().advance(event)
            else:
                self._advance(event)
            return Change.CHANGED
        if event.type in _OF_STAGES or "tokens_used" in data or "cost" in data:
            self._stages().fold(event)
        match event.type:
            case "error":
                self.error = text(data.get("error")) or text(data.get("message")) or "error"
            case "stopping" if self.status != STOPPING:
                self.status = STOPPING
                return Change.TURNED
            case "workflow_step":
                self.stage = first(data, "stage", "step", "name") or self.stage
                self.message = text(data.get("message")) or self.message
            case "status":
                self.stage = text(data.get("stage")) or self.stage
                self.message = first(data, "message", "content") or self.message
        return Change.CHANGED

    @property
    def _is_conversation(self) -> bool:
        """Whether each end is that of one answer; see `router.runs`."""
        return self.domain == "thread" and self.incarnation is None

    def _reset(self, fresh: RunRecord) -> None:
        fresh.heard, fresh.told, fresh.stages_told = self.heard, self.told, self.stages_told
        for field in self.__slots__:
            setattr(self, field, getattr(fresh, field))

    def _stages(self) -> Stages:
        if self.stages is None:
            self.stages = Stages(MAX_STAGES)
        return self.stages

    def _is_of_stage(self, data: Mapping[str, Any]) -> bool:
        """Whether the data are about a stage, and not about the run as a whole."""
        span, above = text(data.get("span")), parent(data)
        return (span is not None and span not in (self.run, self.token, self.incarnation)) or (
            above is not None and above not in (self.parent, self.run, self.token)
        )

    def _advance(self, event: Event) -> None:
        data = event.data
        done, current, total = (
            share(data),
            count(data, "current", "current_step", "currentFrame"),
            count(data, "total", "total_steps", "totalFrames"),
        )
        rate, eta = count(data, "rate"), count(data, "eta_seconds", "estimatedTimeRemaining")
        spent, cost = tokens(data), amount(data.get("cost"))
        if done is None and current is not None and total:
            done = min(1.0, current / total)
        if current is not None:
            self.current, self.total = current, total
        if done is not None:
            # Never backwards inside a run: a second bar, a retried step or a late event does not undo what was shown.
            self.progress = max(done, self.progress or 0.0)
            speed = measure(self.measured, self.rate, event.time, self.progress, self.current, self.total)
            self.measured = speed.measured
            self.rate = speed.rate if speed.rate is not None else self.rate
            self.eta_seconds = speed.eta_seconds if speed.eta_seconds is not None else self.eta_seconds
        # What the producer says itself is right.
        self.rate = rate if rate is not None else self.rate
        self.eta_seconds = eta if eta is not None else self.eta_seconds
        self.tokens_used, self.cost = _larger(self.tokens_used, spent), _larger(self.cost, cost)
        self.stage = first(data, "stage", "current_step") or self.stage
        self.message = text(data.get("message")) or self.message

    def _end(self, event: Event, outcome: str) -> Change:
        data = event.data
        if self.over:
            return Change.REPEATED if event.id == self.ended_by else Change.SECOND
        success, code, spent = data.get("success"), data.get("exit_code"), tokens(data)
        cost, error = amount(data.get("cost")), text(data.get("error"))
        if success is not None and not isinstance(success, bool):
            raise Reject("success must be true or false")
        if code is not None and whole(code) is None:
            raise Reject("exit_code must be a whole number")
        self.tokens_used = spent if spent is not None else self._totals()[0]
        self.cost = cost if cost is not None else self._totals()[1]
        self.status = outcome
        match outcome:
            case "completed":
                self.progress, self.error = 1.0, None
            case "cancelled":
                self.error = error
            case _:
                self.error = error or self.error or text(data.get("message")) or "failed"
        self.exit_code = whole(code)
        self.picture = text(data.get("picture"))
        self.message = text(data.get("message")) or self.message
        self.eta_seconds, self.measured = None, None
        self.ended_by = event.id
        if self.stages is not None:
            self.stages.end(event.time, outcome)
        return Change.TURNED


def _larger(one: Any, other: Any) -> Any:
    """The larger of two amounts, of which None is not known."""
    return other if one is None or (other is not None and other > one) else one
