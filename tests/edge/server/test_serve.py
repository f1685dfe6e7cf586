"""Tests binding the edge's socket, and that serving ends with a drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edge.server.serve import CannotListen, bind, serve
from edge.settings import EdgeSettings, IdentitySettings
from tests.waiting import PATIENCE


def test_without_keys_only_loopback_is_listened_on() -> None:
    with pytest.raises(CannotListen, match="without authentication"):
        bind("0.0.0.0", 0)
    with pytest.raises(CannotListen, match="without authentication"):
        bind("0.0.0.0", 0, IdentitySettings())
    for each in bind("0.0.0.0", 0, IdentitySettings(secret="x" * 32)):
        each.close()


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(each) for each in bind("127.0.0.1", 0)]
        with pytest.raises(CannotListen, match="choose another port"):
            bind("127.0.0.1", taken[0].getsockname()[1])


def test_nagle_s_algorithm_can_be_turned_off_because_the_socket_says_that_it_is_tcp() -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(each) for each in bind("127.0.0.1", 0)]
        assert {each.proto for each in listeners} == {socket.IPPROTO_TCP}


class Part:
    """A drainable part whose drain ends when the test says so."""

    def __init__(self) -> None:
        self.draining = False
        self.settings = EdgeSettings()
        self.drained = asyncio.Event()
        self.go = asyncio.Event()

    async def drain(self) -> None:
        self.drained.set()
        await self.go.wait()


async def test_it_stops_accepting_then_drains_and_then_ends() -> None:
    async def hello(_request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    part, entered = Part(), []

    @contextlib.asynccontextmanager
    async def starting() -> AsyncIterator[tuple[Starlette, Part]]:
        entered.append("entered")
        yield Starlette(routes=[Route("/", hello)]), part
        entered.append("left")

    listeners, stop = bind("127.0.0.1", 0), asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    opened: list[Part] = []
    serving = asyncio.create_task(serve(starting(), *listeners, stop=stop, opened=opened.append, ready=port.set_result))
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}", timeout=PATIENCE) as http,
    ):
        assert (await http.get("/")).text == "hello" and opened == [part]

        stop.set()
        await part.drained.wait()
        assert part.draining and not serving.done()
        with pytest.raises(httpx.TransportError):
            await http.get("/")

        part.go.set()
        await serving
    assert entered == ["entered", "left"]


async def test_serving_that_is_cancelled_leaves_nothing_open() -> None:
    @contextlib.asynccontextmanager
    async def starting() -> AsyncIterator[tuple[Starlette, Part]]:
        yield Starlette(), Part()

    listeners = bind("127.0.0.1", 0)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(starting(), *listeners, stop=asyncio.Event(), ready=port.set_result))
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}", timeout=PATIENCE) as http,
    ):
        assert (await http.get("/")).status_code == 404

        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(httpx.TransportError):
            await http.get("/")
    # What is still open now fails this test when its loop is closed (tests/loops.py).
