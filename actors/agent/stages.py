"""Keeps what one run consists of: its steps, its uses of tools and its child runs, with what each took.

A stage begins with `workflow_step`, `tool_use` or a child run's start, and ends with the `workflow_step` or
`workflow_complete` that says so, the `tool_result` that the use caused, or the child run's end. `span` in an event's data names
the stage that it is about, `parent` the one that this is part of. A step that says nothing of its status ends when the next one of the same
parent begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.agent.fields import amount, count, first, ns, parent, share, text, tokens, whole
from actors.agent.speed import Measured, measure
from router.codec import rfc3339
from router.event import Event

# 200 stages: some screens of them. Those that ended longest ago are left out first; what they took stays in the totals.
MAX_STAGES = 200
# Levels that a stage's place in the tree is followed upwards.
MAX_LEVELS = 16

RUNNING, COMPLETED, FAILED, CANCELLED = "running", "completed", "failed", "cancelled"

_OUTCOMES = {
    "complete": COMPLETED, "completed": COMPLETED, "done": COMPLETED, "finished": COMPLETED, "success": COMPLETED,
    "succeeded": COMPLETED, "failed": FAILED, "failure": FAILED, "error": FAILED, "cancelled": CANCELLED,
    "canceled": CANCELLED, "skipped": CANCELLED, "stopped": CANCELLED,
}  # fmt: skip


class Stage(msgspec.Struct, gc=False):
    """One step, use of a tool or child run. Times in ns since the epoch; `duration` in seconds, where the producer says it."""

    id: str
    name: str
    kind: str  # step, tool, model, run, or what a step says of itself
    started: int
    parent: str | None = None
    status: str = RUNNING
    ended: int | None = None
    duration: float | None = None
    progress: float | None = None
    current: float | None = None
    total: float | None = None
    rate: float | None = None
    eta_seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    error: str | None = None
    unmarked: bool = False  # it says nothing of its status
    measured: Measured | None = None

    def shown(self) -> dict[str, Any]:
        """What readers see; without the fields that nothing is known of."""
        took = self.duration
        if took is None and self.ended is not None:
            took = round(max(0, self.ended - self.started) / 1e9, 6)
        fields = {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "parent": self.parent,
            "status": self.status,
            "started": rfc3339(self.started),
            "duration": took,
            "progress": self.progress,
            "steps": {"current": self.current, "total": self.total} if self.current is not None else None,
            "rate": self.rate,
            "eta_seconds": self.eta_seconds if self.ended is None else None,
            "tokens_used": self.tokens,
            "cost": self.cost,
            "error": self.error,
        }
        return {name: value for name, value in fields.items() if value is not None}


class _Numbers(NamedTuple):
    """What an event says of a stage in numbers."""

    done: float | None
    current: float | None
    total: float | None
    spent: int | None
    cost: float | None


class ChildRun(msgspec.Struct, frozen=True):
    """What a parent run shows of a child run."""

    key: str
    name: str
    parent: str | None
    started: int
    status: str
    updated: int
    over: bool
    progress: float | None = None
    tokens: int | None = None
    cost: float | None = None
    error: str | None = None


class Stages:
    """The stages of one run, in the order they began."""

    def __init__(self, limit: int = MAX_STAGES) -> None:
        self.limit = limit
        self.left_out = 0
        self.changed = False
        self._stages: dict[str, Stage] = {}
        # Tokens and cost of what is no stage, and of stages that were left out.
        self._tokens: int | None = None
        self._cost: float | None = None

    def __len__(self) -> int:
        return len(self._stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def get(self, id: str | None) -> Stage | None:
        return self._stages.get(id) if id is not None else None

    def fold(self, event: Event) -> None:
        """Takes an event of the run that does not end it. Raises Reject; the stages then stay as they were."""
        match event.type:
            case "workflow_step":
                self._step(event)
            case "tool_use":
                name = text(event.data.get("tool_name")) or "tool"
                self._begin(Stage(_span(event) or event.id, name, "tool", event.time, parent(event.data)))
            case "tool_result":
                self._tool_result(event)
            case "model_selection" if _span(event):
                name = first(event.data, "model", "selected_model") or "model"
                self._begin(Stage(_span(event) or event.id, name, "model", event.time, parent(event.data)))
            case "workflow_complete":
                self._finish(self._meant(event), event, COMPLETED, _numbers(event.data))
            case _:
                self._spend(event)

    def advance(self, event: Event) -> None:
        """Takes the progress of a stage. Raises Reject."""
        stage = self._meant(event)
        if stage is not None and stage.ended is None:
            self._go_on(stage, event.time, _numbers(event.data))

    def child(self, run: ChildRun) -> None:
        """Takes the present state of a child run."""
        stage = self._stages.get(run.key)
        if stage is None or stage.started < run.started:
            stage = Stage(run.key, run.name, "run", run.started, run.parent)
            self._begin(stage)
        stage.status, stage.progress, stage.error = run.status, run.progress, run.error
        stage.tokens, stage.cost = run.tokens, run.cost
        stage.ended = run.updated if run.over else None
        self.changed = True

    def end(self, time: int, outcome: str) -> None:
        """Ends what is still open, as the run did. ChildRun runs end by themselves."""
        for stage in self._stages.values():
            if stage.ended is None and stage.kind != "run":
                stage.status, stage.ended, self.changed = outcome, time, True

    def totals(self) -> tuple[int | None, float | None]:
        """Tokens and cost of all stages; of one that says what it took, the stages inside it are part of that."""
        spent_tokens, spent_cost = self._tokens, self._cost
        for stage in self._stages.values():
            if stage.tokens is not None and not self._is_inside(stage, "tokens"):
                spent_tokens = (spent_tokens or 0) + stage.tokens
            if stage.cost is not None and not self._is_inside(stage, "cost"):
                spent_cost = (spent_cost or 0.0) + stage.cost
        return spent_tokens, None if spent_cost is None else round(spent_cost, 9)

    def shown(self) -> dict[str, Any]:
        """What is published."""
        return {
            "stages": [stage.shown() for stage in self._stages.values()],
            "left_out": self.left_out,
            "tokens_beside": self._tokens,
            "cost_beside": self._cost,
        }

    @classmethod
    def of_shown(cls, data: Mapping[str, Any], limit: int = MAX_STAGES) -> Stages:
        """Rebuilds the stages from what was published; what cannot be read is left out."""
        stages = cls(limit)
        given = data.get("stages")
        for each in given if isinstance(given, list) else []:
            if isinstance(each, Mapping) and (stage := _of_shown(each)) is not None:
                stages._stages[stage.id] = stage
        stages.left_out = whole(data.get("left_out")) or 0
        stages._tokens, stages._cost = whole(data.get("tokens_beside")), amount(data.get("cost_beside"))
        return stages

    def _step(self, event: Event) -> None:
        data = event.data
        number = data.get("step")
        name = first(data, "step", "stage", "name") or (str(number) if whole(number) is not None else "step")
        id, numbers = _span(event) or name, _numbers(data)
        said = text(data.get("status"))
        outcome = _OUTCOMES.get(said.lower()) if said else None
        stage = self._stages.get(id)
        if stage is None or (stage.ended is not None and outcome is None):
            # Of one that is told of only when it is over, the begin follows from what it took.
            began = max(0, event.time - int((_took(data) or 0.0) * 1e9)) if outcome is not None else event.time
            kind = text(data.get("kind")) or "step"
            stage = Stage(id, name, kind if kind != "run" else "step", began, parent(data), unmarked=said is None)
            if stage.unmarked:
                self._end_unmarked(stage)
            self._begin(stage)
        if outcome is not None:
            self._finish(stage, event, outcome, numbers)
        else:
            self._go_on(stage, event.time, numbers)

    def _end_unmarked(self, follower: Stage) -> None:
        for stage in self._stages.values():
            if stage.unmarked and stage.ended is None and stage.parent == follower.parent:
                stage.status, stage.ended = COMPLETED, follower.started

    def _tool_result(self, event: Event) -> None:
        numbers = _numbers(event.data)
        stage = self._stages.get(_span(event) or "") or self._stages.get(event.cause or "")
        name = text(event.data.get("tool_name")) or "tool"
        if stage is None:
            calls = (one for one in reversed(self._stages.values()) if one.kind == "tool" and one.name == name)
            stage = next((one for one in calls if one.ended is None), None)
        if stage is None:
            began = max(0, event.time - int((_took(event.data) or 0.0) * 1e9))
            stage = Stage(_span(event) or event.id, name, "tool", began, parent(event.data))
            self._begin(stage)
        self._finish(stage, event, COMPLETED, numbers)

    def _begin(self, stage: Stage) -> None:
        if (former := self._stages.pop(stage.id, None)) is not None:
            self._leave(former)
        self._stages[stage.id] = stage
        while len(self._stages) > self.limit:
            over = (one for one in self._stages.values() if one.ended is not None and one is not stage)
            oldest = next(over, None) or next(iter(self._stages.values()))
            del self._stages[oldest.id]
            self._leave(oldest)
            self.left_out += 1
        self.changed = True

    def _leave(self, stage: Stage) -> None:
        """Keeps what a stage took that is shown no more."""
        if stage.tokens is not None and not self._is_inside(stage, "tokens"):
            self._tokens = (self._tokens or 0) + stage.tokens
        if stage.cost is not None and not self._is_inside(stage, "cost"):
            self._cost = (self._cost or 0.0) + stage.cost

    def _finish(self, stage: Stage | None, event: Event, outcome: str, numbers: _Numbers) -> None:
        if stage is None:
            return
        data = event.data
        said = text(data.get("status"))
        if said and said.lower() in _OUTCOMES:
            outcome = _OUTCOMES[said.lower()]
        elif data.get("success") is False:
            outcome = FAILED
        stage.status, stage.ended = outcome, event.time
        took = _took(data)
        stage.duration = took if took is not None else stage.duration
        stage.progress = 1.0 if outcome == COMPLETED and stage.progress is not None else stage.progress
        stage.error = text(data.get("error"))
        stage.measured = None
        # The end says what all of it took.
        stage.tokens = numbers.spent if numbers.spent is not None else stage.tokens
        stage.cost = numbers.cost if numbers.cost is not None else stage.cost
        self.changed = True

    def _go_on(self, stage: Stage, time: int, numbers: _Numbers) -> None:
        done, current, total, spent, cost = numbers
        if done is None and current is not None and total:
            done = min(1.0, current / total)
        if current is not None:
            stage.current, stage.total = current, total
        if done is not None:
            stage.progress = max(done, stage.progress or 0.0)
            speed = measure(stage.measured, stage.rate, time, stage.progress, stage.current, stage.total)
            stage.measured = speed.measured
            stage.rate = speed.rate if speed.rate is not None else stage.rate
            stage.eta_seconds = speed.eta_seconds if speed.eta_seconds is not None else stage.eta_seconds
        # Of a stage that goes on this is what it took until now.
        stage.tokens = spent if spent is not None else stage.tokens
        stage.cost = cost if cost is not None else stage.cost
        self.changed = True

    def _spend(self, event: Event) -> None:
        """Adds the tokens and the cost of an event that is about no stage's begin or end."""
        spent, cost = tokens(event.data), amount(event.data.get("cost"))
        if spent is None and cost is None:
            return
        stage = self._meant(event)
        if stage is not None:
            self._add(stage, spent, cost)
        else:
            self._tokens = self._tokens if spent is None else (self._tokens or 0) + spent
            self._cost = self._cost if cost is None else (self._cost or 0.0) + cost
        self.changed = True

    def _add(self, stage: Stage, spent: int | None, cost: float | None) -> None:
        stage.tokens = stage.tokens if spent is None else (stage.tokens or 0) + spent
        stage.cost = stage.cost if cost is None else (stage.cost or 0.0) + cost

    def _meant(self, event: Event) -> Stage | None:
        """The stage that an event is about: that of its span, or of its name, or the one that it is part of."""
        data = event.data
        names = (_span(event), first(data, "step", "stage", "name"), parent(data))
        return next((stage for name in names if name and (stage := self._stages.get(name))), None)

    def _is_inside(self, stage: Stage, field: str) -> bool:
        """Whether what a stage took is part of what one above it says it took."""
        above = self.get(stage.parent)
        for _ in range(MAX_LEVELS):
            if above is None or above is stage:
                return False
            if getattr(above, field) is not None:
                return True
            above = self.get(above.parent)
        return False


_DURATIONS = ("duration", "execution_time", "total_time")


def _numbers(data: Mapping[str, Any]) -> _Numbers:
    """Raises Reject, before anything is changed."""
    return _Numbers(
        share(data),
        count(data, "current", "current_step"),
        count(data, "total", "total_steps"),
        tokens(data),
        amount(data.get("cost")),
    )


def _took(data: Mapping[str, Any]) -> float | None:
    """The seconds that something took, as its producer says it."""
    return next((found for name in _DURATIONS if (found := amount(data.get(name))) is not None), None)


def _span(event: Event) -> str | None:
    return text(event.data.get("span"))


def _of_shown(each: Mapping[str, Any]) -> Stage | None:
    id, name, kind, started = text(each.get("id")), text(each.get("name")), text(each.get("kind")), each.get("started")
    if id is None or name is None or kind is None or not isinstance(started, str):
        return None
    try:
        began = ns(started)
    except (ValueError, OverflowError):
        return None
    status, took = text(each.get("status")) or RUNNING, amount(each.get("duration"))
    steps = each.get("steps")
    steps = steps if isinstance(steps, Mapping) else {}
    return Stage(
        id,
        name,
        kind,
        began,
        parent=text(each.get("parent")),
        status=status,
        ended=began + int((took or 0.0) * 1e9) if status in (COMPLETED, FAILED, CANCELLED) else None,
        duration=took,
        progress=amount(each.get("progress")),
        current=amount(steps.get("current")),
        total=amount(steps.get("total")),
        rate=amount(each.get("rate")),
        eta_seconds=amount(each.get("eta_seconds")),
        tokens=whole(each.get("tokens_used")),
        cost=amount(each.get("cost")),
        error=text(each.get("error")),
    )
