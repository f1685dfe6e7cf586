"""The dialect of AG-UI 1.0: a run's life cycle, its text, reasoning, steps, tools and state, as events of that protocol over SSE.

Messages and steps begin and end, and nothing is open when the run ends. What the protocol has no word for is CUSTOM, under the name
of its event type. A connection that ends before its run says RUN_ERROR, so that nobody takes it for a run that finished; to
TanStack AI, which comes back by itself behind the last id, that would be the end of the run, so it is told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from edge.dialects.dialect import COMPLETED, PLAIN_HEADERS, Body, DialectPart, FoldedDialect
from router.catalogue import Delivery, ending, find_at
from router.codec import to_json
from router.event import Event
from router.record import Record

MAX_OPEN_CALLS = 64
MAX_OPEN_STEPS = 64
_SILENT = frozenset({"state", "stages", "stopping"})

Said = dict[str, Any]


class AgentState(NamedTuple):
    """The run so far: its ids, what is open in it, and how many messages there were.

    `run` is what the client calls it, `life` what the store does: all readers of it have the same ids of messages.
    """

    thread: str
    run: str = ""
    life: str = ""
    started: bool = False
    kind: str | None = None
    texts: int = 0
    messages: int = 0
    calls: tuple[tuple[str, str], ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f"{self.life}-m{self.messages}"


Made = tuple[AgentState, list[Said]]


def _begin(parameters: Mapping[str, str]) -> AgentState:
    return AgentState(parameters["thread"], parameters.get("run", ""))


def _step(state: AgentState, record: Record, _epoch: str) -> tuple[AgentState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    if event.type in _SILENT or (event.type == "message_added" and event.data.get("role") == "user"):
        # What the user said the client knows.
        return state, ()
    begun: list[Said] = []
    if not state.started:
        said = event.data.get("incarnation")
        life = said if isinstance(said, str) and said else event.id
        state = state._replace(run=state.run or life, life=life, started=True)
        begun = [{"type": "RUN_STARTED", "threadId": state.thread, "runId": state.run}]
    state, made = _take(state, event)
    return state, [DialectPart(to_json(each)) for each in (*begun, *made)]


def _take(state: AgentState, event: Event) -> Made:
    data = event.data
    if event.type == "workflow_start":
        return state, []
    if (outcome := ending(event.subject.domain, event.type, data)) is not None:
        return _end(state, event, outcome)
    if event.type == "thinking":
        return _delta(state, "REASONING", str(data.get("thought") or ""))
    if event.type == "tool_use":
        return _tool_use(state, event)
    if event.type == "tool_result":
        return _tool_result(state, event)
    if event.type == "state_snapshot":
        return state, [{"type": "STATE_SNAPSHOT", "snapshot": data.get("snapshot", dict(data))}]
    if event.type == "state_delta" and _is_patch(data.get("delta")):
        return state, [{"type": "STATE_DELTA", "delta": data["delta"]}]
    if event.type == "workflow_step" and (stepped := _step_of(state, data)) is not None:
        return stepped
    declared = find_at(event.type, event.subject)
    if declared.delivery is Delivery.APPEND and (field := declared.text_field(data)) is not None:
        return _delta(state, "TEXT", data[field])
    return state, [{"type": "CUSTOM", "name": event.type, "value": dict(data)}]


def _is_patch(delta: Any) -> bool:
    """Whether this is a JSON Patch (RFC 6902). Clients end a run with an error at one that is none."""
    return isinstance(delta, list) and all(isinstance(each, dict) and _is_operation(each) for each in delta)


def _is_operation(operation: Mapping[str, Any]) -> bool:
    path, kind = operation.get("path"), operation.get("op")
    if not _is_pointer(path):
        return False
    if kind in ("move", "copy"):
        return _is_pointer(operation.get("from"))
    return kind == "remove" or (kind in ("add", "replace", "test") and "value" in operation)


def _is_pointer(path: Any) -> bool:
    return isinstance(path, str) and (not path or path.startswith("/"))


def _step_of(state: AgentState, data: Mapping[str, Any]) -> Made | None:
    """A step begins or ends; None where the protocol has no word for it, as where one of this name is open already."""
    name, status = data.get("step"), data.get("status")
    if not isinstance(name, str) or not name:
        return None
    if status == "started" and name not in state.steps and len(state.steps) < MAX_OPEN_STEPS:
        return state._replace(steps=(*state.steps, name)), [{"type": "STEP_STARTED", "stepName": name}]
    if status in ("completed", "failed") and name in state.steps:
        left = tuple(each for each in state.steps if each != name)
        return state._replace(steps=left), [{"type": "STEP_FINISHED", "stepName": name}]
    return None


def _delta(state: AgentState, kind: str, text: str) -> Made:
    if not text:
        return state, []
    made: list[Said] = []
    if state.kind != kind:
        state, made = _closed(state)
        state = state._replace(kind=kind, messages=state.messages + 1, texts=state.texts + (kind == "TEXT"))
        if kind == "TEXT":
            made.append({"type": "TEXT_MESSAGE_START", "messageId": state.message, "role": "assistant"})
        else:
            made.append({"type": "REASONING_START", "messageId": state.message})
            made.append({"type": "REASONING_MESSAGE_START", "messageId": state.message, "role": "reasoning"})
    return state, [*made, {"type": f"{kind}_MESSAGE_CONTENT", "messageId": state.message, "delta": text}]


def _closed(state: AgentState) -> Made:
    """Ends the message that is open."""
    if state.kind is None:
        return state, []
    made: list[Said] = [{"type": f"{state.kind}_MESSAGE_END", "messageId": state.message}]
    if state.kind == "REASONING":
        made.append({"type": "REASONING_END", "messageId": state.message})
    return state._replace(kind=None), made


def _call(call: str, name: str, input: Any) -> list[Said]:
    return [
        {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name},
        {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": to_json(input).decode()},
        {"type": "TOOL_CALL_END", "toolCallId": call},
    ]


def _tool_use(state: AgentState, event: Event) -> Made:
    state, made = _closed(state)
    name = str(event.data.get("tool_name") or "tool")
    calls = (*state.calls, (event.id, name))[-MAX_OPEN_CALLS:]
    return state._replace(calls=calls), [*made, *_call(event.id, name, event.data.get("parameters") or {})]


def _tool_result(state: AgentState, event: Event) -> Made:
    state, made = _closed(state)
    data, name = event.data, str(event.data.get("tool_name") or "tool")
    open = [call for call, tool in state.calls if call == event.cause or (event.cause is None and tool == name)]
    call = open[0] if open else event.cause or event.id
    if not open:
        made += _call(call, name, {})
    state = state._replace(calls=tuple(each for each in state.calls if each[0] != call))
    value = data.get("result") if data.get("result") is not None else data.get("error")
    content = value if isinstance(value, str) else to_json(value).decode()
    result = {
        "type": "TOOL_CALL_RESULT",
        "messageId": f"{event.id}-r",
        "toolCallId": call,
        "content": content,
        "role": "tool",
    }
    return state, [*made, result]


def _end(state: AgentState, event: Event, outcome: str) -> Made:
    data = event.data
    made: list[Said] = []
    whole = data.get("content") if isinstance(data.get("content"), str) else data.get("result")
    if outcome == "completed" and not state.texts and isinstance(whole, str):
        # An answer that was not streamed.
        state, made = _delta(state, "TEXT", whole)
    state, closed = _closed(state)
    made += closed
    made += [{"type": "STEP_FINISHED", "stepName": name} for name in reversed(state.steps)]
    state = state._replace(steps=())
    if outcome == "failed":
        error = {"type": "RUN_ERROR", "message": str(data.get("error") or data.get("message") or "failed")}
        return state, [*made, error]
    if outcome == "cancelled":
        made.append({"type": "CUSTOM", "name": "cancelled", "value": {}})
    return state, [*made, {"type": "RUN_FINISHED", "threadId": state.thread, "runId": state.run}]


def _notices(state: AgentState, control: str, body: Body) -> Sequence[DialectPart]:
    if control == "bye" and body["reason"] != COMPLETED:
        message = f"the connection was closed ({body['reason']}) before the run ended: join it again"
        return (DialectPart(to_json({"type": "RUN_ERROR", "message": message, "code": "connection_closed"})),)
    if control == "gap" and state.started:
        return (DialectPart(to_json({"type": "CUSTOM", "name": "gap", "value": {"reason": body["reason"]}})),)
    return ()


def _few_notices(state: AgentState, control: str, body: Body) -> Sequence[DialectPart]:
    return () if control == "bye" else _notices(state, control, body)


AG_UI = FoldedDialect(
    name="ag-ui",
    headers=PLAIN_HEADERS,
    opening=b"",
    keep_alive=b": keep-alive\n\n",
    notices=_notices,
    begin=_begin,
    step=_step,
    # Clients refuse a message that begins twice.
    part_ids=True,
)

# Pairs an id with the data behind it, so that one behind its data would be that of the next event.
TANSTACK = replace(AG_UI, name="tanstack", leading_id=True, notices=_few_notices)
