"""The dialect of the agent-run streaming guide: `{type, threadId, content, ts}`, `:keepalive`, `open` and `close`.

Types are `token`, `delta`, `status`, `error` and `done`. Tokens are text; thoughts and uses of tools are deltas with an object;
what else happens in a run is a status. A run that failed says `error` before its one `done`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edge.dialects.dialect import COMPLETED, PLAIN_HEADERS, Body, DialectPart, FoldedDialect, named_notice
from router.catalogue import Delivery, ending, find_at
from router.codec import to_json
from router.event import Event
from router.record import Record


class ThreadState(NamedTuple):
    """The thread that the events belong to, as far as their own data do not say it."""

    thread: str


Said = Mapping[str, Any]
Content = Any


def _begin(parameters: Mapping[str, str]) -> ThreadState:
    return ThreadState(parameters.get("thread") or parameters.get("run", ""))


def _of(data: Said, *names: str) -> dict[str, Any]:
    return {name: data[name] for name in names if data.get(name) is not None}


def _words(data: Said, *names: str) -> Content:
    """The first field that is there."""
    return next((data[name] for name in names if data.get(name) is not None), "")


_SHAPES: Mapping[str, Callable[[Said], tuple[str, Content]]] = {
    "workflow_start": lambda _data: ("status", "processing"),
    "stopping": lambda _data: ("status", "stopping"),
    "status": lambda data: ("status", _words(data, "content", "status", "message", "stage")),
    "error": lambda data: ("error", _words(data, "error", "message", "content")),
    "thinking": lambda data: ("delta", {"thought": data.get("thought")}),
    "tool_use": lambda data: ("delta", {"tool": data.get("tool_name"), "parameters": data.get("parameters") or {}}),
    "tool_result": lambda data: (
        "delta",
        {"tool": data.get("tool_name"), **_of(data, "result", "success", "error", "execution_time")},
    ),
}
# What the agent actor makes of the others.
_DERIVED = frozenset({"state", "stages"})


def _step(state: ThreadState, record: Record, _epoch: str) -> tuple[ThreadState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    data = event.data
    if event.type == "workflow_start" and isinstance(named := _words(data, "threadId", "thread_id"), str) and named:
        state = ThreadState(named)
    if event.type in _DERIVED:
        return state, ()
    thread = data.get("threadId")
    thread = thread if isinstance(thread, str) and thread else state.thread
    return state, [
        DialectPart(to_json({"type": kind, "threadId": thread, "content": content, "ts": _ts(event)}))
        for kind, content in _shapes(event)
    ]


def _shapes(event: Event) -> list[tuple[str, Content]]:
    data = event.data
    if (status := ending(event.subject.domain, event.type, data)) is not None:
        return _end(event, status)
    if (shape := _SHAPES.get(event.type)) is not None:
        return [shape(data)]
    declared = find_at(event.type, event.subject)
    if declared.delivery is Delivery.APPEND:
        field = declared.text_field(data)
        # A delta may be an object of the guide's own.
        text = data[field] if field is not None else _words(data, "content", "delta")
        return [("delta" if event.type == "delta" else "token", text)]
    return [("status", {"event": event.type, **data})]


def _end(event: Event, status: str) -> list[tuple[str, Content]]:
    data = event.data
    if (content := data.get("content")) is None:
        content = {"status": status, **_of(data, "success", "result", "error", "message", "total_time", "tokens_used")}
    failed = [("error", _words(data, "error", "message") or "the run failed")] if status == "failed" else []
    return [*failed, ("done", content)]


def _ts(event: Event) -> int:
    """Milliseconds since the epoch: as the producer says, who follows the guide, else of the event."""
    said = event.data.get("ts")
    return int(said) if isinstance(said, (int, float)) and not isinstance(said, bool) else event.time // 1_000_000


def _notices(_state: ThreadState, control: str, body: Body) -> Sequence[DialectPart]:
    if control == "ready":
        return (DialectPart(b"{}", "open"),)
    if control == "bye" and body["reason"] == COMPLETED:
        return (DialectPart(b"{}", "close"),)
    if control == "gap":
        # A name that no client of the guide listens to, for those that want to know. Its place is not theirs.
        return (named_notice(None, control, body)[0]._replace(cursor=None),)
    return ()


AGENT_RUN = FoldedDialect(
    name="agent-run",
    headers=PLAIN_HEADERS,
    opening=b"",
    keep_alive=b":keepalive\n\n",
    notices=_notices,
    begin=_begin,
    step=_step,
)
