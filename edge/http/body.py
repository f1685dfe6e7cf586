"""Reads request bodies and queries, and makes JSON answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge.errors import Problem, read_as
from edge.problem import to_response
from edge.runtime import Edge
from edge.transports import flow
from router.codec import check_depth, from_json, to_json
from router.errors import BadEvent

Query = TypeVar("Query", bound=msgspec.Struct)

# What a page's string concatenation sends before it has a value.
UNSAID = frozenset({"", "undefined", "null"})


def edge_of(connection: HTTPConnection) -> Edge:
    """The edge that serves a request."""
    edge: Edge = connection.app.state.edge
    return edge


def draining_problem() -> Problem:
    """Refuses new work while this process drains; the client should use another connection for its next request."""
    return Problem("draining", headers={"Retry-After": "1", "Connection": "close"})


class JsonAnswer(Response):
    """A JSON answer that no cache may store."""

    def __init__(self, value: object, status: int = 200) -> None:
        # What `Response` would make of the same in four times the steps.
        self.status_code = status
        self.background = None
        self.body = to_json(value)
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
        ]


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache may store."""
    answer = JsonAnswer(value, status)
    if headers:
        answer.headers.update(headers)
    return answer


async def http_problem(request: Request, fault: Exception) -> Response:
    """Answers what Starlette itself refuses, an unknown path or method, with a problem."""
    assert isinstance(fault, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(fault.status_code, "bad_input")
    return to_response(Problem(code, f"{request.method} {request.url.path}", headers=fault.headers))


async def read_body(request: Request) -> bytes:
    """Reads a body up to the limit; a longer one is refused before it is in memory. Raises Problem."""
    settings = edge_of(request).settings
    limit, seconds = settings.max_body, settings.limits.body_seconds
    if (whole := flow.whole_body(request.scope)) is not None:
        if len(whole) > limit:
            raise Problem("body_too_large", f"at most {limit} bytes")
        return whole
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise Problem("body_too_large", f"at most {limit} bytes")
                parts.append(part)
    except TimeoutError:
        raise Problem("request_timeout", f"at most {seconds:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        # The client has gone and reads no answer.
        raise Problem("bad_request", "the body ended early") from None
    return b"".join(parts)


async def read_json(request: Request) -> Any:
    """Reads a body of JSON; an empty one is an empty object. Raises Problem."""
    body = await read_body(request)
    if not body.strip():
        return {}
    try:
        value = from_json(body)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None
    try:
        check_depth(value, edge_of(request).settings.limits.depth)
    except BadEvent:
        raise Problem("bad_body", f"nested deeper than {edge_of(request).settings.limits.depth} levels") from None
    return value


def read_query(connection: Request | WebSocket, shape: type[Query]) -> Query:
    """Reads the query as a Struct, whose constraints validate it. Raises Problem `bad_parameter` with the `field`."""
    return read_parameters(connection.query_params, shape)


def read_parameters(query: Mapping[str, str], shape: type[Query]) -> Query:
    """Reads the parameters of a query as a Struct. Raises Problem as `read_query` does."""
    given = {name: text for name, text in query.items() if text not in UNSAID}
    return read_as(given, shape, "bad_parameter", unknown="bad_parameter", strict=False)
