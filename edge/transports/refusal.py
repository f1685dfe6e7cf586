"""Refuses a request for server-sent events in band where that is for the moment only: as a stream that ends at once.

An EventSource gives up for good on every answer but 200. A replica that shuts down, a store that is away or too many
connections are no reason for that: such a client is answered 200 with `retry:` and a `bye` that says why, and comes back.
Clients that do not ask for `text/event-stream` by name, such as curl, get the status and the problem itself, and so does
everybody where coming back would not help.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.disconnect import FAILED, LOST_STORE, REFUSED, SHUTDOWN, Disconnect
from edge.errors import Problem, problem_of
from edge.problem import Refusal, to_response
from edge.transports.event_stream import one_line
from edge.transports.sse import last_event_id
from router.codec import to_json
from router.cursor import parse_cursor
from router.errors import BadCursor

# Too many requests, and what a server says of its own state.
TRANSIENT = frozenset({429, 500, 502, 503, 504, 507})
# What the same state is called on a stream that is open already.
_REASONS: Mapping[str, Disconnect] = {"draining": SHUTDOWN, "broker_unavailable": LOST_STORE, "internal": FAILED}
# Clients that were refused together come back within this many times their delay.
_SPREAD = 2.0


async def refuse(request: Request, fault: Exception) -> Response:
    """Starlette's exception handler for Problem and the router's errors."""
    problem = problem_of(fault)
    if problem.status in TRANSIENT and asks_for_events(request):
        return in_band(problem, last_event_id(request))
    return to_response(problem)


def asks_for_events(request: Request) -> bool:
    """Whether a client reads a session as an EventSource does: it names the type that it accepts.

    LangGraph's clients, which name it too, tell a refusal by its status, and would take such a stream for a run that ended.
    """
    if (
        request.scope["type"] != "http"
        or request.scope["method"] != "GET"
        or request.scope["path"].startswith("/threads/")
        or not (request.scope["path"].endswith(("/sse", "/stream")) or request.scope["path"].startswith("/api/stream/"))
    ):
        return False
    kinds = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(kind.partition(";")[0].strip() == "text/event-stream" for kind in kinds)


def in_band(problem: Problem, place: str | None = None) -> Response:
    """A stream of one `bye`, with the time after which to come back.

    It repeats the place that the client came with, for clients that take the id of whatever they read last.
    """
    reason = _REASONS.get(problem.code, REFUSED)
    asked = problem.headers.get("Retry-After", "")
    delay = max(float(asked) if asked.isdigit() else 0.0, reason.delay)
    delay_ms = int(delay * 1000 * random.uniform(1.0, _SPREAD))
    body: dict[str, Any] = {
        "reason": reason.reason,
        "code": reason.code,
        "reconnect": True,
        "delay_ms": delay_ms,
        "problem": problem.body(),
    }
    place = place if place and _is_cursor(place) else None
    if place:
        body["cursor"] = place
    form = b"retry: %d\nevent: bye\ndata: %b\n%b\n" % (
        delay_ms,
        one_line(to_json(body)),
        f"id: {place}\n".encode() if place else b"",
    )
    headers = {**problem.headers, "Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no"}
    return Refusal(problem.code, form, 200, headers, media_type="text/event-stream")


def _is_cursor(text: str) -> bool:
    try:
        parse_cursor(text)
    except BadCursor:
        return False
    return True
