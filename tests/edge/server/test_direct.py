"""Plain requests are answered where they arrive; all others on the same connection, and what comes meanwhile, by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from edge.server.direct import DirectHttpProtocol, with_direct
from edge.server.timeouts import with_timeouts
from edge.settings import LimitSettings
from edge.transports.fast.plain_request import PlainAnswer, PlainExchange, PlainRequest
from edge.transports.fast.upgrade import TakeoverHttpProtocol
from tests.waiting import PATIENCE, eventually

BODY = b"{}"
PLAIN = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n" + BODY
OTHER = b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def other(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await Response(f"uvicorn {scope['method']}")(scope, receive, send)


class Handler:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.takes = True
        # Whether it answers from a task; else at once.
        self.waits = True
        self.taken = 0
        self.fault: Exception | None = None

    def take(self, asked: PlainRequest, peer: str, exchange: PlainExchange) -> bool:
        assert asked.body == BODY and peer == "127.0.0.1"
        if not self.takes:
            return False
        self.taken += 1
        if self.waits:
            exchange.await_answer(self._answer(self.taken))
        elif self.fault is not None:
            raise self.fault
        else:
            exchange.answer(PlainAnswer(201, (), b"direct %d" % self.taken))
        return True

    async def _answer(self, number: int) -> PlainAnswer:
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        return PlainAnswer(201, (), b"direct %d" % number)


class Serving:
    """A server, and what it has of connections."""

    def __init__(self, handler: Handler, port: int, state: ServerState) -> None:
        self.handler = handler
        self.port = port
        self.state = state

    @property
    def protocol(self) -> DirectHttpProtocol:
        (found,) = self.state.connections
        assert isinstance(found, DirectHttpProtocol)
        return found


@contextlib.asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[Serving]:
    handler = Handler()
    settings = LimitSettings(**{"head_seconds": 3600.0, **limits})
    protocol = with_direct(with_timeouts(TakeoverHttpProtocol, settings), handler)
    config = uvicorn.Config(other, http=protocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(protocol, config, state, {}, loop), "127.0.0.1", 0)
    try:
        yield Serving(handler, server.sockets[0].getsockname()[1], state)
    finally:
        for connection in list(state.connections):
            connection.transport.abort()
        server.close()


async def answers(reader: asyncio.StreamReader, count: int) -> list[tuple[int, bytes]]:
    """The status and body of each answer."""
    found = []
    async with asyncio.timeout(PATIENCE):
        for _ in range(count):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            found.append((int(head.split(b" ")[1]), await reader.readexactly(length)))
    return found


@pytest.mark.parametrize("waits", [True, False])
async def test_requests_of_both_kinds_are_answered_in_turn_on_one_connection(waits: bool) -> None:
    async with serving() as edge:
        edge.handler.waits = waits
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        found = []
        for asked in (PLAIN, OTHER, PLAIN, PLAIN, OTHER, OTHER, PLAIN):
            writer.write(asked)
            found += await answers(reader, 1)
        edge.handler.takes = False
        writer.write(PLAIN)
        found += await answers(reader, 1)
        writer.close()

    bodies = [body.decode() for _, body in found]
    assert bodies == [
        "direct 1", "uvicorn GET", "direct 2", "direct 3", "uvicorn GET", "uvicorn GET", "direct 4", "uvicorn POST",
    ]  # fmt: skip


@pytest.mark.parametrize("later", [[OTHER], [PLAIN], [OTHER, PLAIN, OTHER], [PLAIN[:30], PLAIN[30:] + OTHER]])
async def test_what_comes_while_a_request_is_answered_is_answered_behind_it(later: list[bytes]) -> None:
    async with serving() as edge:
        edge.handler.may.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        await eventually(lambda: edge.handler.taken)
        for data in later:
            writer.write(data)
            await writer.drain()
        await eventually(lambda: edge.protocol._late)
        edge.handler.may.set()

        wanted = b"".join(later).count(b"HTTP/1.1")
        found = await answers(reader, 1 + wanted)
        await eventually(lambda: not edge.state.tasks)
        writer.close()

    assert found[0] == (201, b"direct 1")
    assert [
        b"uvicorn GET" in body for _, body in found[1:] if b"uvicorn POST" not in body and b"direct" not in body
    ] == [True] * b"".join(later).count(b"GET")


async def test_a_head_that_is_larger_than_allowed_is_refused_by_uvicorns_protocol() -> None:
    async with serving(head_bytes=100) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN.replace(b"\r\n", b"\r\nX-Long: " + b"a" * 100 + b"\r\n", 1))
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 431") and not edge.handler.taken


async def test_requests_in_one_packet_are_all_answered_in_their_order() -> None:
    async with serving() as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN + OTHER + PLAIN)
        found = await answers(reader, 3)
        writer.close()

    assert [body for _, body in found] == [b"uvicorn POST", b"uvicorn GET", b"uvicorn POST"]


async def test_a_packet_of_another_requests_body_is_no_request() -> None:
    async with serving() as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(PLAIN))
        await writer.drain()
        await eventually(lambda: edge.protocol._in_body)
        writer.write(PLAIN)
        assert await answers(reader, 1) == [(200, b"uvicorn POST")]
        assert not edge.handler.taken
        writer.write(b"GET /other HTTP/1.1\r\nX-A: b")
        await writer.drain()
        await eventually(lambda: edge.protocol._begun)
        # It goes on with the value of a header.
        writer.write(PLAIN)
        assert await answers(reader, 1) == [(200, b"uvicorn GET")]
        writer.close()

    assert not edge.handler.taken


async def test_a_client_that_ends_its_side_behind_its_request_is_answered() -> None:
    async with serving() as edge:
        edge.handler.may.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        writer.write_eof()
        await eventually(lambda: edge.handler.taken and edge.protocol._ends)
        edge.handler.may.set()
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()

    assert answer.endswith(b"direct 1") and b"connection: close" in answer


async def test_a_server_that_stops_ends_the_connection_behind_the_answer() -> None:
    async with serving() as edge:
        edge.handler.may.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        await eventually(lambda: edge.handler.taken)
        assert len(edge.state.tasks) == 1, "uvicorn waits for it"
        edge.protocol.shutdown()
        edge.handler.may.set()
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()

    assert answer.endswith(b"direct 1") and b"connection: close" in answer
    assert not edge.state.tasks


async def test_a_client_that_leaves_before_its_answer_harms_nobody() -> None:
    async with serving() as edge:
        edge.handler.may.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        await eventually(lambda: edge.handler.taken)
        writer.transport.abort()
        edge.handler.may.set()
        await eventually(lambda: not edge.state.tasks and not edge.state.connections)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_fault_of_ours_is_answered_with_500_and_ends_the_connection(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as edge:
        edge.handler.waits = waits
        edge.handler.fault = ZeroDivisionError("secret")
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 500") and b"secret" not in answer
    assert "secret" in caplog.text


async def test_a_head_that_does_not_end_is_cut_off_behind_a_plain_request_too() -> None:
    async with serving(head_seconds=0.3) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        assert await answers(reader, 1) == [(201, b"direct 1")]
        writer.write(b"GET /other HTTP/1.1\r\nX-Slow: ")
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_connection_that_waits_between_requests_is_not_cut_off_by_the_timeout_of_heads() -> None:
    async with serving(head_seconds=0.2) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        await answers(reader, 1)
        assert edge.protocol._timeout is None and edge.protocol.timeout_keep_alive_task is not None
        writer.write(PLAIN)
        assert await answers(reader, 1) == [(201, b"direct 2")]
        writer.close()


async def test_a_connection_is_closed_once_it_was_not_used_for_a_while() -> None:
    async with serving() as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(PLAIN)
        await answers(reader, 1)
        timer = edge.protocol.timeout_keep_alive_task
        writer.write(PLAIN)
        await answers(reader, 1)
        assert edge.protocol.timeout_keep_alive_task is timer is not None, "it is not set anew"

        # It was used since the timer was set.
        edge.protocol.timeout_keep_alive_handler()
        edge.handler.may.clear()
        writer.write(PLAIN)
        await eventually(lambda: edge.handler.taken == 3)
        edge.protocol._answered -= 3600.0
        edge.protocol.timeout_keep_alive_handler()
        edge.handler.may.set()
        assert await answers(reader, 1) == [(201, b"direct 3")]

        edge.protocol._answered -= 3600.0
        edge.protocol.timeout_keep_alive_handler()
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("waits", [True, False])
def test_it_works_on_uvloop_too(waits: bool) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_requests_of_both_kinds_are_answered_in_turn_on_one_connection(waits))
        runner.run(test_what_comes_while_a_request_is_answered_is_answered_behind_it([OTHER, PLAIN, OTHER]))
        runner.run(test_a_client_that_ends_its_side_behind_its_request_is_answered())
