"""The dialects of the geminivideo real-time guide: events as `{type, …, timestamp, id}`, `connected`, `complete` and `error`.

A stream of a run ends with `event: complete`, or where the run failed with `event: error`: the guide's hooks close on both, and
need them in place of our own notices. A job whose producer publishes no `video_render_progress` is shown by the state that the
agent actor keeps of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edge.dialects.dialect import PLAIN_HEADERS, Body, DialectPart, FoldedDialect, SharedDialect, named_notice
from router.catalogue import ending
from router.codec import from_json, rfc3339, to_json
from router.event import Event
from router.record import Record

KEEP_ALIVE = b": keep-alive\n\n"

RENDER, PROGRESS = "video_render_progress", "job_progress"
# The statuses that the guide's clients know.
_STATUSES = {"running": "processing", "stopping": "processing", "cancelled": "failed"}

Shape = Mapping[str, Any]


def event_shape(event: Event, type: str | None = None) -> dict[str, Any]:
    """An event as the guide has it; what its data say of the same name is kept."""
    return {"timestamp": rfc3339(event.time), "id": event.id, **event.data, "type": type or event.type}


def render_of_state(job: str, event: Event) -> dict[str, Any]:
    """The progress of a render from the state of its run."""
    data = event.data
    steps = data.get("steps")
    steps = steps if isinstance(steps, Mapping) else {}
    status = str(data.get("status"))
    shown = _STATUSES.get(status, status)
    return {
        "type": RENDER,
        "jobId": job,
        "status": shown,
        "currentFrame": steps.get("current") or 0,
        "totalFrames": steps.get("total") or 0,
        "progress": data.get("progress") or 0,
        "fps": data.get("rate") or 0,
        "estimatedTimeRemaining": data.get("eta_seconds") or 0,
        "stage": "complete" if shown == "completed" else data.get("stage") or data.get("message") or "rendering",
        "timestamp": rfc3339(event.time),
        "id": event.id,
    }


def progress_of_state(job: str, event: Event) -> dict[str, Any]:
    """The progress of a job from the state of its run."""
    shape = render_of_state(job, event)
    return {
        "type": PROGRESS,
        "jobId": job,
        "status": shape["status"],
        "stage": shape["stage"],
        "progress": shape["progress"],
        "message": event.data.get("message") or "",
        "metadata": {"estimatedTimeRemaining": shape["estimatedTimeRemaining"]},
        "timestamp": shape["timestamp"],
        "id": event.id,
    }


# One run: a render, a council, an evaluation


class _RunState(NamedTuple):
    """Whose run it is, whether its producer publishes in the guide's own shapes, and what was shown last."""

    name: str
    native: bool = False
    shown: bytes | None = None


def _begin(parameters: Mapping[str, str]) -> _RunState:
    return _RunState(parameters["run"])


def _render(state: _RunState, record: Record, _epoch: str) -> tuple[_RunState, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    shape: dict[str, Any] | None = None
    if event.type == RENDER:
        shape = {"jobId": state.name, **event_shape(event)}
        state = _RunState(state.name, True, to_json(shape))
    elif event.type == "state" and not state.native:
        shape = render_of_state(state.name, event)
        state = state._replace(shown=to_json(shape))
    outcome = ending(event.subject.domain, event.type, event.data)
    if outcome is None:
        return state, () if shape is None else (_part(shape),)
    if shape is None and outcome == "completed":
        # Its last progress: the producer of a completion says none.
        before = from_json(state.shown) if state.shown else {"type": RENDER, "jobId": state.name}
        total = before.get("totalFrames") or 0
        shape = {
            **before, "status": outcome, "progress": 1, "currentFrame": total, "totalFrames": total,
            "estimatedTimeRemaining": 0, "stage": "complete", "timestamp": rfc3339(event.time), "id": event.id,
        }  # fmt: skip
    last = () if shape is None else (_part(shape),)
    return state, (*last, _end(event, outcome, {"jobId": state.name, "status": outcome}))


def _passing(kind: str, whole: Callable[[Event], Shape], result: Callable[[Shape], Any]) -> Any:
    """The step of a run whose events of one type are passed on as they are.

    `whole` makes the last of them where a completion ends the run, `result` reads from the last what is complete.
    """

    def step(state: _RunState, record: Record, _epoch: str) -> tuple[_RunState, Sequence[DialectPart]]:
        event = record.event
        assert event is not None
        outcome = ending(event.subject.domain, event.type, event.data)
        shape: Shape | None = event_shape(event) if event.type == kind else None
        if outcome == "completed" and shape is None:
            shape = {**whole(event), "type": kind, "isComplete": True, "timestamp": rfc3339(event.time), "id": event.id}
        said = () if shape is None else (_part(shape),)
        if outcome is None:
            return state, said
        return state, (*said, _end(event, outcome, result(shape or {})))

    return step


def _score(event: Event) -> Shape:
    """The score of a council whose run ends with a result."""
    result = event.data.get("result")
    return {"stage": "complete", "finalScore": result.get("finalScore") if isinstance(result, Mapping) else None}


def _last_chunk(event: Event) -> Shape:
    result = event.data.get("result")
    return {"chunk": result if isinstance(result, str) else ""}


def _part(shape: Shape) -> DialectPart:
    return DialectPart(to_json(shape))


def _end(event: Event, outcome: str, data: Any) -> DialectPart:
    """The last part of a run; its name tells the guide's hooks to close."""
    when = rfc3339(event.time)
    if outcome == "completed":
        return DialectPart(to_json({"type": "complete", "data": data, "timestamp": when}), "complete")
    said = event.data.get("error") or event.data.get("message")
    error = said if isinstance(said, str) and said else "cancelled" if outcome == "cancelled" else "failed"
    return DialectPart(to_json({"type": "error", "error": error, "timestamp": when}), "error")


# Notices


def notices(_state: object, control: str, body: Body) -> Sequence[DialectPart]:
    """The guide's own words for what happens to a connection."""
    if control == "ready":
        said = {
            "type": "connected", "message": "SSE connection established", "clientId": f"sse_{secrets.token_hex(6)}",
            "timestamp": body["server_time"],
        }  # fmt: skip
        return (_part(said),)
    if control == "bye" and body["reason"] == "shutdown":
        now = rfc3339(time.time_ns())
        return (_part({"type": "server_shutdown", "message": "Server is shutting down", "timestamp": now}),)
    if control == "gap":
        # A name that no client of the guide listens to. Its place is not theirs.
        return (named_notice(None, control, body)[0]._replace(cursor=None),)
    return ()


def _folded(name: str, step: Any) -> FoldedDialect:
    return FoldedDialect(
        name=name, headers=PLAIN_HEADERS, opening=b"", keep_alive=KEEP_ALIVE, notices=notices, begin=_begin, step=step
    )


RENDER_PROGRESS = _folded("geminivideo-render", _render)
COUNCIL = _folded("geminivideo-council", _passing("council_score_stream", _score, lambda last: last.get("finalScore")))
EVALUATION = _folded("geminivideo-evaluation", _passing("ai_evaluation_stream", _last_chunk, lambda _last: None))


def _entity(record: Record, _epoch: str) -> bytes:
    """An event of an entity; every reader is sent the same."""
    made: bytes | None = record.encoded.get("geminivideo")
    if made is None:
        assert record.event is not None
        made = record.encoded["geminivideo"] = to_json(event_shape(record.event))
    return made


ENTITY = SharedDialect(
    name="geminivideo-entity",
    headers=PLAIN_HEADERS,
    opening=b"",
    keep_alive=KEEP_ALIVE,
    notices=notices,
    encode=_entity,
)

__all__ = [
    "COUNCIL", "ENTITY", "EVALUATION", "RENDER_PROGRESS", "event_shape", "notices", "progress_of_state",
    "render_of_state",
]  # fmt: skip
