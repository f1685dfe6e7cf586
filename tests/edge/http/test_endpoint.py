"""A request of a route is answered once, whatever its handler raises, and counted by the status that is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import metrics
from edge.auth.authenticator import Access, Authenticator
from edge.errors import Problem
from edge.http.endpoint import HttpEndpoint
from router import tracing
from router.errors import Timeout
from tests.edge.auth.conftest import SecuredFactory

ROUTE = "/endpoint"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def counted(kind: str, route: str = ROUTE) -> float:
    return float(metrics.requests.labels(route, kind)._value.get())


async def ask(handler: Callable[[Request], Awaitable[ASGIApp]], **head: str) -> list[Message]:
    """The messages of an answer; raises what the server would log."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        # The client stays.
        return await asyncio.get_running_loop().create_future()

    headers = [(name.encode(), value.encode()) for name, value in head.items()]
    scope: Scope = {
        "type": "http", "method": "GET", "path": ROUTE, "path_params": {}, "headers": headers, "query_string": b"",
        "server": ("edge", 80), "scheme": "http",
    }  # fmt: skip
    try:
        # Nobody is asked who the client is on an open route.
        await HttpEndpoint(handler, ROUTE, Access.OPEN, cast(Authenticator, None))(scope, receive, send)
    finally:
        asked.extend(sent)
    return sent


asked: list[Message] = []


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    asked.clear()


async def stream(_request: Request) -> ASGIApp:
    async def parts() -> Any:
        yield b"one"

    return StreamingResponse(parts(), 206)


async def refuse_late(_request: Request) -> ASGIApp:
    async def answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise Problem("session_not_found")

    return answer


def raising(fault: Exception) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def handle(_request: Request) -> ASGIApp:
        raise fault

    return handle


async def plain(_request: Request) -> ASGIApp:
    return Response("here", 201)


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (plain, 201),
        (stream, 206),
        (raising(Problem("rate_limited")), 429),
        (raising(Timeout("away")), 503),
        (raising(HTTPException(404)), 404),
        (refuse_late, 404),
    ],
)
async def test_a_request_is_answered_and_counted_once(
    handler: Callable[[Request], Awaitable[ASGIApp]], status: int
) -> None:
    kind = f"{status // 100}xx"
    before = counted(kind)

    sent = await ask(handler)

    assert [message["status"] for message in sent if "status" in message] == [status]
    assert counted(kind) - before == 1


async def test_a_fault_of_ours_is_answered_with_500_and_raised_for_the_log() -> None:
    before = counted("5xx")

    with pytest.raises(ZeroDivisionError):
        await ask(raising(ZeroDivisionError("secret")))

    assert [message["status"] for message in asked if "status" in message] == [500]
    assert b"secret" not in b"".join(message.get("body", b"") for message in asked)
    assert counted("5xx") - before == 1


async def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    async def break_off(_request: Request) -> ASGIApp:
        async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise Problem("session_not_found")

        return answer

    with pytest.raises(Problem):
        await ask(break_off)

    assert [message["type"] for message in asked] == ["http.response.start"]


async def test_the_work_of_a_request_is_bound_to_its_trace() -> None:
    async def handle(_request: Request) -> ASGIApp:
        await asyncio.sleep(0)
        return Response(tracing.bound().get("trace", "none"))

    assert (await ask(handler=handle, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01"))[-1]["body"] == TRACE.encode()
    assert (await ask(handler=handle))[-1]["body"] == b"none"
    assert tracing.bound() == {}


async def test_a_request_that_is_not_admitted_is_counted_too(secured: SecuredFactory) -> None:
    before = counted("4xx", "/callbacks/sessions")
    async with secured() as edge:
        answer = await edge.http.get("/callbacks/sessions")

    assert answer.status_code == 401
    assert counted("4xx", "/callbacks/sessions") - before == 1
