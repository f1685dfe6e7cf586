"""The dialect of Vercel's AI SDK: the UI message stream, version 1, which `useChat` and `readUIMessageStream` read.

Text and reasoning are parts that begin and end; a use of a tool and its result are told by one id; what else happens in a run is a
data part. Clients refuse chunks with fields that they do not know, so there are no others. An error chunk ends the message
for a client: it is sent where the run failed, and where the connection ends before the run does, and never for an error that the
run survives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edge.dialects.dialect import COMPLETED, PLAIN_HEADERS, Body, DialectPart, FoldedDialect
from router.catalogue import Delivery, ending, find_at
from router.codec import to_json
from router.event import Event
from router.record import Record

# More uses of tools than a model leaves open at once.
MAX_OPEN_CALLS = 64
# What the agent actor makes of the others, and what others say better.
_SILENT = frozenset({"state", "stages", "stopping"})
# Of these the newest stands for those before it.
_REPLACED = frozenset({"progress", "status"})

Chunk = dict[str, Any]


class MessageState(NamedTuple):
    """The message so far: the part that is open, how many there were, and the uses of tools without a result."""

    started: bool = False
    texts: int = 0
    kind: str | None = None
    parts: int = 0
    calls: tuple[tuple[str, str], ...] = ()


Made = tuple[MessageState, list[Chunk]]


def _begin(_parameters: Mapping[str, str]) -> MessageState:
    return MessageState()


def _step(state: MessageState, record: Record, _epoch: str) -> tuple[MessageState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    state, chunks = _take(state, event)
    return state, [DialectPart(to_json(chunk)) for chunk in chunks]


def _take(state: MessageState, event: Event) -> Made:
    data = event.data
    if event.type in _SILENT:
        return state, []
    if event.type == "workflow_start":
        if state.started:
            # One that resumes goes on with the message.
            return state, []
        said = data.get("incarnation")
        return state._replace(started=True), [
            {"type": "start", "messageId": said if isinstance(said, str) else event.id}
        ]
    if (outcome := ending(event.subject.domain, event.type, data)) is not None:
        return _end(state, event, outcome)
    if event.type == "thinking":
        return _delta(state, "reasoning", str(data.get("thought") or ""))
    if event.type == "tool_use":
        return _tool_use(state, event)
    if event.type == "tool_result":
        return _tool_result(state, event)
    declared = find_at(event.type, event.subject)
    if declared.delivery is Delivery.APPEND and (field := declared.text_field(data)) is not None:
        return _delta(state, "text", data[field])
    return state, [_data(event)]


def _data(event: Event) -> Chunk:
    made: Chunk = {"type": f"data-{event.type.replace('_', '-')}", "data": dict(event.data)}
    return made | ({"id": event.type} if event.type in _REPLACED else {})


def _delta(state: MessageState, kind: str, text: str) -> Made:
    if not text:
        return state, []
    chunks: list[Chunk] = []
    if state.kind != kind:
        state, chunks = _closed(state)
        state = state._replace(kind=kind, parts=state.parts + 1, texts=state.texts + (kind == "text"))
        chunks = [*chunks, {"type": f"{kind}-start", "id": f"{kind}-{state.parts}"}]
    return state, [*chunks, {"type": f"{kind}-delta", "id": f"{kind}-{state.parts}", "delta": text}]


def _closed(state: MessageState) -> Made:
    """Ends the part that is open."""
    if state.kind is None:
        return state, []
    return state._replace(kind=None), [{"type": f"{state.kind}-end", "id": f"{state.kind}-{state.parts}"}]


def _tool_use(state: MessageState, event: Event) -> Made:
    state, chunks = _closed(state)
    name = str(event.data.get("tool_name") or "tool")
    calls = (*state.calls, (event.id, name))[-MAX_OPEN_CALLS:]
    return state._replace(calls=calls), [*chunks, _input(event.id, name, event.data.get("parameters") or {})]


def _input(call: str, name: str, input: Any) -> Chunk:
    return {"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": input, "dynamic": True}


def _tool_result(state: MessageState, event: Event) -> Made:
    state, chunks = _closed(state)
    data, name = event.data, str(event.data.get("tool_name") or "tool")
    open = [call for call, tool in state.calls if call == event.cause or (event.cause is None and tool == name)]
    call = open[0] if open else event.cause or event.id
    if not open:
        # Clients know no result of a tool that was not used.
        chunks = [*chunks, _input(call, name, {})]
    state = state._replace(calls=tuple(each for each in state.calls if each[0] != call))
    if data.get("success") is False or (data.get("error") and "result" not in data):
        error = str(data.get("error") or "the tool failed")
        return state, [*chunks, {"type": "tool-output-error", "toolCallId": call, "errorText": error, "dynamic": True}]
    output = {"type": "tool-output-available", "toolCallId": call, "output": data.get("result"), "dynamic": True}
    return state, [*chunks, output]


def _end(state: MessageState, event: Event, outcome: str) -> Made:
    data = event.data
    chunks: list[Chunk] = []
    if not state.started:
        chunks, state = [{"type": "start", "messageId": event.id}], state._replace(started=True)
    whole = data.get("content") if isinstance(data.get("content"), str) else data.get("result")
    if outcome == "completed" and not state.texts and isinstance(whole, str):
        # An answer that was not streamed.
        state, made = _delta(state, "text", whole)
        chunks += made
    state, made = _closed(state)
    chunks += made
    if outcome == "failed":
        return state, [
            *chunks,
            {"type": "error", "errorText": str(data.get("error") or data.get("message") or "failed")},
        ]
    return state, [*chunks, {"type": "abort" if outcome == "cancelled" else "finish"}]


def _notices(_state: MessageState, control: str, body: Body) -> Sequence[DialectPart]:
    if control == "bye":
        if body["reason"] == COMPLETED:
            return (DialectPart(b"[DONE]"),)
        # A stream that just ended would be taken for a message that is complete.
        error = f"the connection was closed ({body['reason']}) before the run ended: resume the stream"
        return (DialectPart(to_json({"type": "error", "errorText": error})),)
    if control == "gap":
        return (DialectPart(to_json({"type": "data-gap", "data": {"reason": body["reason"]}})),)
    return ()


AI_SDK = FoldedDialect(
    name="ai-sdk",
    headers=(*PLAIN_HEADERS, (b"x-vercel-ai-ui-message-stream", b"v1")),
    opening=b"",
    keep_alive=b": keep-alive\n\n",
    notices=_notices,
    begin=_begin,
    step=_step,
)
