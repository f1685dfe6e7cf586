"""Reads requests and makes answers: bodies, query parameters, JSON, and the edge that a request came to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge.errors import Problem
from edge.problem import to_response
from edge.runtime import Edge
from router.codec import check_depth, from_json, to_json
from router.errors import BadEvent


def edge_of(connection: Request | WebSocket) -> Edge:
    """The edge that a request came to."""
    edge: Edge = connection.app.state.edge
    return edge


def leaving() -> Problem:
    """What is new is refused with while this process drains; the connection is of no use for another request."""
    return Problem("draining", headers={"Retry-After": "1", "Connection": "close"})


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON that nobody may cache."""
    return Response(
        to_json(value), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


async def http_problem(request: Request, fault: Exception) -> Response:
    """Says as a problem what Starlette refuses by itself: an unknown path or method."""
    assert isinstance(fault, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(fault.status_code, "bad_input")
    return to_response(Problem(code, f"{request.method} {request.url.path}", headers=fault.headers))


async def read_body(request: Request) -> bytes:
    """Reads a body up to the limit; what is longer is refused before it is held."""
    most = edge_of(request).settings.max_body
    seconds = edge_of(request).settings.limits.body_seconds
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Problem("body_too_large", f"at most {most} bytes")
                parts.append(part)
    except TimeoutError:
        raise Problem("request_timeout", f"at most {seconds:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        # Nobody is there to read this.
        raise Problem("bad_request", "the body broke off") from None
    return b"".join(parts)


async def read_json(request: Request) -> Any:
    """Reads a body of JSON; an empty one is an empty object. Raises Problem."""
    body = await read_body(request)
    if not body.strip():
        return {}
    try:
        found = from_json(body)
    except BadEvent as fault:
        raise Problem("bad_json", str(fault)) from None
    try:
        check_depth(found, edge_of(request).settings.limits.depth)
    except BadEvent:
        raise Problem("bad_body", f"nested deeper than {edge_of(request).settings.limits.depth} levels") from None
    return found


def number(request: Request, name: str, default: Any, least: Any, most: Any) -> Any:
    """Reads a number from the query; what is no number, or out of bounds, is refused by name."""
    text = request.query_params.get(name)
    if text in (None, "", "undefined", "null"):
        return default
    try:
        value = type(default)(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise Problem("bad_parameter", f"{name} must be a number from {least} to {most}")
    return value
