"""Declares the events of runs: of agents, workflows, jobs and threads."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.event_types.declaration import PARENTS, Delivery, EventType, Terminal
from router.event_types.fields import SHARES, Amount, Count, Shares

Number = Annotated[float, Meta(ge=0)]


class ThinkingData(msgspec.Struct, gc=False):
    """What is being considered."""

    thought: str


class ToolUseData(msgspec.Struct, gc=False):
    """The use of a tool. Its event's id is the `cause` of the result."""

    tool_name: Annotated[str, Meta(min_length=1)]
    parameters: dict[Any, Any] | None = None


class ToolResultData(msgspec.Struct, gc=False):
    """What a tool came to. `execution_time` in seconds."""

    tool_name: Annotated[str, Meta(min_length=1)]
    result: Any = None
    success: bool | None = None
    execution_time: Amount | None = None
    error: str | None = None
    error_type: str | None = None
    tokens_used: Count | None = None
    cost: Amount | None = None


class ProgressData(Shares, gc=False, kw_only=True):
    """How far a run is."""

    current_step: Annotated[float, Meta(ge=0)] | str | None = None
    total_steps: Amount | None = None


class EndData(msgspec.Struct, gc=False, kw_only=True):
    """How a run ended. `total_time` in seconds; without `success` it is read from `status` and `error`."""

    success: bool | None = None
    status: str | None = None
    result: Any = None
    error: Any = None
    error_type: str | None = None
    message: str | None = None
    exit_code: int | None = None
    total_time: Amount | None = None
    tokens_used: Count | None = None
    cost: Amount | None = None
    cancelled: bool | None = None
    synthesized: Annotated[bool, Meta(description="The producer was gone; Callboard ended its run.")] | None = None


class DoneData(EndData, gc=False, kw_only=True):
    """The end of a thread's answer, as the streaming guide has it. `ts` in ms since the epoch."""

    content: Any = None
    threadId: str | None = None
    ts: Amount | None = None


class StartData(msgspec.Struct, gc=False, kw_only=True):
    """The begin of a run. Another `incarnation` begins it anew; with `resumed` its progress is kept."""

    name: str | None = None
    message: str | None = None
    incarnation: Annotated[str, Meta(min_length=1)] | None = None
    resumed: bool | None = None
    parent_id: str | None = None


class StepData(msgspec.Struct, gc=False, kw_only=True):
    """One step of a workflow."""

    step: str | int | None = None
    stage: str | None = None
    name: str | None = None
    message: str | None = None
    parent_id: str | None = None


class WorkflowEndData(EndData, gc=False, kw_only=True):
    """The end of a workflow; with a `parent_id` it is a step's, and the run goes on."""

    parent_id: str | None = None


class ModelSelectionData(msgspec.Struct, gc=False, kw_only=True):
    """Which model was chosen."""

    model: str | None = None
    selected_model: str | None = None
    provider: str | None = None
    reason: str | None = None


class ChunkData(msgspec.Struct, gc=False, kw_only=True):
    """The next piece of a text; in `content`, or under another of the names."""

    content: Any = None
    delta: Any = None
    chunk: Any = None
    text: Any = None
    token: Any = None
    threadId: str | None = None
    ts: Annotated[float, Meta(ge=0, description="Milliseconds since the epoch.")] | None = None


class StatusData(msgspec.Struct, gc=False, kw_only=True):
    """What a thread does now."""

    status: str | None = None
    content: str | dict[Any, Any] | None = None
    message: str | None = None
    stage: str | None = None
    threadId: str | None = None
    ts: Annotated[float, Meta(ge=0, description="Milliseconds since the epoch.")] | None = None


class ErrorData(msgspec.Struct, gc=False, kw_only=True):
    """An error that a run may survive."""

    error: str | dict[Any, Any] | None = None
    message: str | None = None
    content: str | dict[Any, Any] | None = None
    error_type: str | None = None
    recoverable: bool | None = None
    retry_count: Count | None = None


class OutputData(msgspec.Struct, gc=False, kw_only=True):
    """Output of a program: a line, or several."""

    line: str | None = None
    lines: list[str] | None = None
    text: str | None = None
    stream: str | None = None


class StoppingData(msgspec.Struct, gc=False, kw_only=True):
    """The producer was asked to stop, and is about to."""

    reason: str | None = None


class RunStateData(msgspec.Struct, gc=False, kw_only=True):
    """The latest state of a run, for readers that join late."""

    status: str
    run: str | None = None
    domain: str | None = None
    name: str | None = None
    progress: float | None = None
    stage: str | None = None
    message: str | None = None
    rate: float | None = None
    eta_seconds: float | None = None
    started: str | None = None
    updated: str | None = None
    error: str | None = None
    exit_code: int | None = None
    steps: dict[Any, Any] | None = None
    tokens_used: int | None = None
    cost: float | None = None
    duration: Annotated[float | None, Meta(description="Seconds, of a run that is over.")] = None
    parent: Annotated[str | None, Meta(description="The run or step that this run is part of.")] = None
    picture: Annotated[
        str | None, Meta(description="A link to what a run that is over has made, as its end says it.")
    ] = None
    stage_count: Annotated[int | None, Meta(description="How many stages it had; they are in the event `stages`.")] = (
        None
    )
    leased: bool | None = None
    incarnation: str | None = None


class RunStagesData(msgspec.Struct, gc=False, kw_only=True):
    """What a run consists of: its steps, its uses of tools and its child runs, in the order they began, the newest 200.

    A stage has `id`, `name`, `kind` (step, tool, run), `status`, `started`, and what is known of `parent`, `duration` (seconds),
    `progress`, `steps`, `rate`, `eta_seconds`, `tokens_used`, `cost` and `error`.
    """

    stages: list[dict[str, Any]]
    left_out: int | None = None
    run: str | None = None
    incarnation: str | None = None
    tokens_beside: int | None = None
    cost_beside: float | None = None


_END = Terminal()
# What the text of a delta is called, in the order they are looked for.
_TEXTS = ("delta", "content", "chunk", "text", "token")
_LINES = ("text", "content", "chunk", "delta", "message")


def _chunk(name: str, summary: str, text: str, domain: str | None = None) -> EventType:
    others = tuple(other for other in _TEXTS if other != text)
    return EventType(
        name,
        summary,
        domain,
        ChunkData,
        Delivery.APPEND,
        text=text,
        other_texts=others,
        intermediate=True,
        reduce={text: "concat"},
        either=(text, *others),
    )


def _line(name: str) -> EventType:
    return EventType(name, f"Output: a {name}.", text="line", other_texts=_LINES)


RUN_TYPES: tuple[EventType, ...] = (
    EventType("thinking", "The model is reasoning.", schema=ThinkingData, intermediate=True),
    EventType("tool_use", "A tool is being executed.", schema=ToolUseData),
    EventType("tool_result", "A tool's execution is over.", schema=ToolResultData),
    EventType(
        "progress",
        "How far a task is.",
        schema=ProgressData,
        delivery=Delivery.LATEST,
        intermediate=True,
        progress=True,
        conditions=SHARES,
    ),
    EventType("completion", "A task is over.", schema=EndData, terminal=_END),
    EventType("complete", "A task is over.", schema=EndData, terminal=_END),
    EventType("done", "An answer is complete.", schema=DoneData, terminal=_END),
    EventType("error", "An error occurred.", schema=ErrorData, either=("error", "message", "content")),
    EventType("workflow_start", "A workflow begins, or begins anew.", schema=StartData),
    EventType("workflow_step", "A step of a workflow.", schema=StepData),
    EventType(
        "workflow_complete",
        "A workflow is over.",
        schema=WorkflowEndData,
        terminal=Terminal(unless=PARENTS),
    ),
    EventType("model_selection", "A model was chosen.", schema=ModelSelectionData),
    _chunk("streaming_chunk", "A piece of a streamed answer.", "content"),
    _chunk("token", "A token of a streamed answer.", "content"),
    _chunk("delta", "A piece of a streamed answer.", "content"),
    EventType("status", "What a thread does now.", schema=StatusData),
    EventType("output", "Output of a program.", schema=OutputData, text="line", other_texts=_LINES),
    *(_line(name) for name in ("log", "line", "stdout", "stderr")),
    EventType("message_added", "A message of a thread.", text="content", other_texts=("text", "message")),
    EventType("stopping", "The producer was asked to stop.", schema=StoppingData),
    *(
        EventType("state", f"The latest state of a run of the domain {domain}.", domain, RunStateData, Delivery.LATEST)
        for domain in ("agent", "job", "thread")
    ),
    *(
        EventType("stages", f"What a run of the domain {domain} consists of.", domain, RunStagesData, Delivery.LATEST)
        for domain in ("agent", "job", "thread")
    ),
)
