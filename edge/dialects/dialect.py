"""Defines what a dialect is: the whole conversation with one client, from the head of its answer to its last part.

A dialect says what it makes of an event (none, one or several parts), of a notice, of silence, and of the end. It knows no
transport: encoders frame its parts. One without state is shared: what it makes of an event is made once for all readers. One
with state folds: each reader has a fold of its own, whose steps are pure, so that a step that fails leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from router.codec import from_json, to_json
from router.record import Record

Headers = tuple[tuple[bytes, bytes], ...]
Body = Mapping[str, Any]


class DialectPart(NamedTuple):
    """One thing that a client is sent: a JSON text without a line break, and on SSE the name of its event."""

    data: bytes
    name: str | None = None
    # Where its client goes on behind it, for notices; for the parts of an event the encoder knows.
    cursor: str | None = None
    # Milliseconds after which a client of SSE comes back.
    retry: int | None = None


# 2 kB of comment: some proxies and old browsers show nothing before their buffer has that much. No blank line behind it: to
# fetch-event-source that is an event without data, which its user's JSON.parse throws at, for ever.
PADDING = b":" + b" " * 2048 + b"\n"

HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)

# As the documents and protocols have them whose dialects say nothing else.
PLAIN_HEADERS: Headers = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
)

# The reason of the `bye` behind the end of what a stream is about (`edge.disconnect.COMPLETED`).
COMPLETED = "completed"

# For the browser's own reconnect; the server's `bye` says more.
RETRY_MS = 1000


def named_notice(_state: Any, control: str, body: Body) -> Sequence[DialectPart]:
    """On SSE: a named event. Its `id:` keeps the client's Last-Event-ID at the cursor."""
    return (DialectPart(to_json(body), control, body.get("cursor"), RETRY_MS if control == "ready" else None),)


# What every client of a WebSocket is told; of silence a ping or pong frame tells.
ESSENTIAL = frozenset({"ready", "gap", "bye"})

# What a client that knows events only shows of what it is told.
_SHOWN: Mapping[str, Callable[[Body], Body]] = {
    "ready": lambda body: {"message": "connected again" if body.get("recovered") else "connected"},
    "gap": lambda body: {"message": f"events are missing: {body.get('reason')}"},
    "bye": lambda body: {"message": f"disconnected: {body.get('reason')}"},
    "error": lambda body: {"error": body.get("detail"), "error_type": body.get("code"), "recoverable": False},
}


def control_object(control: str, body: Body) -> dict[str, Any]:
    """What is said of a connection on a WebSocket.

    A client of the callback guide shows each message as an event; so those that it gets unasked have the fields of one.
    """
    shown = _SHOWN.get(control)
    if shown is None:
        return {"control": control, **body}
    return {"control": control, "event_type": control, **body, "data": shown(body)}


def control_message(_state: Any, control: str, body: Body) -> Sequence[bytes]:
    """On a WebSocket: an object with `control`."""
    return (to_json(control_object(control, body)),)


def essential_message(state: Any, control: str, body: Body) -> Sequence[bytes]:
    """The same, of what nobody can do without."""
    return control_message(state, control, body) if control in ESSENTIAL else ()


# Reads what a client says over a WebSocket, as an object with `control`. Raises BadEvent.
Hears = Callable[[str | bytes], Any]
# Makes a message of an answer to it, an object with `control`.
Answers = Callable[[Body], bytes]
Notices = Callable[[Any, str, Body], Sequence[DialectPart]]
Messages = Callable[[Any, str, Body], Sequence[bytes]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dialect:
    """The parts of a conversation that every dialect has; the defaults are those of the callback guide.

    `headers` are those of an SSE answer, `opening` the bytes before everything, `keep_alive` the comment of a heartbeat.
    Where `cuts`, a stream that ends before what it is about is cut off, for clients that take an end for that of the run.
    `notices` makes parts for SSE, `messages` JSON texts for a WebSocket, of a notice's control and body; both are given the
    state of the fold, where there is one. A position about which nothing is said on SSE is a heartbeat; on a WebSocket one about
    which nothing is said is a ping or pong frame. Where `tells_period`, its `ready` says how often heartbeats come, which a process with
    many connections makes seldomer. `hears` and `answers` are what a client says over a WebSocket, and how it is answered.
    """

    name: str
    headers: Headers = HEADERS
    opening: bytes = PADDING
    # No blank line behind it: httpx-sse would take that for an event without data.
    keep_alive: bytes = b": heartbeat\n"
    notices: Notices = named_notice
    messages: Messages = essential_message
    cuts: bool = False
    tells_period: bool = False
    hears: Hears = from_json
    answers: Answers = to_json


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedDialect(Dialect):
    """Makes of each event one JSON text, in which nothing depends on the reader; `event_name` is its name on SSE."""

    encode: Callable[[Record, str], bytes]
    event_name: Callable[[Record], str | None] | None = None
    # What a client is told over a WebSocket that asks for all controls.
    controls: Messages = control_message
    # Whether a session may choose it, as `dialect`: each text is then a JSON object, to which webhooks add the session.
    for_sessions: bool = False


Step = Callable[[Any, Record, str], tuple[Any, Sequence[DialectPart]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldedDialect(Dialect):
    """Makes of each event what the events before it call for.

    `begin` makes the first state of the parameters of the address; `step` takes a state, a record whose bytes decode and the
    epoch, and returns the next state and the parts. States are hashable values: a step changes none, and
    depends on nothing else, so that readers at the same state share it. `leading_id` is for clients that read `id:` as that of
    the data behind it, line by line; to all others its place is the same, or better behind the data. `part_ids` is for clients that
    resume by themselves and take no part twice: each part has an id, of its event and how many of its parts have come.
    """

    begin: Callable[[Mapping[str, str]], Any]
    step: Step
    leading_id: bool = False
    part_ids: bool = False


@cache
def with_controls(dialect: SharedDialect) -> SharedDialect:
    """The same dialect for a client that asks for all controls, also those that it could do without.

    It has the same name, so that both share what is made of events.
    """
    return replace(dialect, messages=dialect.controls)
