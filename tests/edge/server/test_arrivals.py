"""Connections that have sent nothing yet: given on with their first bytes, and closed when they stay silent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise

import pytest
from uvicorn.server import ServerState

from edge.server import arrivals as module
from edge.server.arrivals import Arrivals
from edge.server.timeouts import with_timeouts
from edge.settings import LimitSettings
from edge.transports import frames
from edge.transports.fast.head import RawHeaders, StreamRequest
from edge.transports.fast.upgrade import TakeoverHttpProtocol
from tests.edge.conftest import EdgeFactory
from tests.edge.transports.fast.raw import connected, until
from tests.edge.transports.test_frames import client_frame
from tests.waiting import PATIENCE, eventually


async def test_connections_that_send_nothing_are_closed_and_others_are_not(edge_factory: EdgeFactory) -> None:
    async with asyncio.timeout(PATIENCE), contextlib.AsyncExitStack() as stack:
        edge = await stack.enter_async_context(edge_factory(limits=LimitSettings(head_seconds=2.0)))
        session = await edge.session()
        begun = time.monotonic()
        silent = [(await stack.enter_async_context(connected(edge)))[0] for _ in range(3)]
        stream, writer = await stack.enter_async_context(connected(edge))
        writer.write(f"GET /callbacks/sessions/{session}/sse HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(stream, b'"session_id"')

        assert [await reader.read() for reader in silent] == [b""] * 3
        assert time.monotonic() - begun > 1.5 and not stream.at_eof()


async def test_a_request_in_pieces_is_served(edge_factory: EdgeFactory) -> None:
    async with edge_factory() as edge, asyncio.timeout(PATIENCE):
        session = await edge.session()
        request = f"GET /callbacks/sessions/{session}/sse HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for at in (1, 30, len(request) - 2):
            async with connected(edge) as (reader, writer):
                writer.write(request[:at])
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(request[at:])
                await until(reader, b'"session_id"')


async def test_who_leaves_without_a_word_is_forgotten(edge_factory: EdgeFactory) -> None:
    async with edge_factory() as edge, asyncio.timeout(PATIENCE):
        for _ in range(20):
            async with connected(edge) as (_, writer):
                if writer.can_write_eof():
                    writer.write_eof()
        async with connected(edge) as (reader, writer):
            writer.write_eof()
            assert await reader.read() == b""
        assert (await edge.http.get("/livez")).status_code == 200


async def test_a_server_that_stops_closes_those_that_have_sent_nothing(edge_factory: EdgeFactory) -> None:
    async with asyncio.timeout(PATIENCE), contextlib.AsyncExitStack() as stack:
        async with edge_factory(limits=LimitSettings(head_seconds=3600.0)) as edge:
            silent, _ = await stack.enter_async_context(connected(edge))
            # Accepted, as the next one is served.
            assert (await edge.http.get("/livez")).status_code == 200
        assert await silent.read() == b""


async def test_a_connection_that_was_accepted_just_before_the_server_stopped_is_closed() -> None:
    base = with_timeouts(TakeoverHttpProtocol, LimitSettings())
    arrivals = Arrivals(base, Nobody())
    closed = [asyncio.Event(), asyncio.Event()]
    early, late = (arrivals(None, None, {}, asyncio.get_running_loop()) for _ in closed)
    early.connection_made(ClosableTransport(closed[0]))
    arrivals.close()
    late.connection_made(ClosableTransport(closed[1]))

    assert [event.is_set() for event in closed] == [True, True] and len(arrivals) == 0


async def test_of_many_that_come_together_all_are_opened_and_nothing_they_sent_is_lost(
    edge_factory: EdgeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPENED_IN_A_TURN", 1)
    async with asyncio.timeout(PATIENCE), contextlib.AsyncExitStack() as stack:
        edge = await stack.enter_async_context(edge_factory())
        session = await edge.session()
        head = f"GET /callbacks/sessions/{session}/%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        upgrade += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        streams = [await stack.enter_async_context(connected(edge)) for _ in range(20)]
        leaving = [await stack.enter_async_context(connected(edge)) for _ in range(5)]
        talking = [await stack.enter_async_context(connected(edge)) for _ in range(5)]
        for _, writer in (*streams, *leaving):
            writer.write((head % ("sse", "")).encode())
        for _, writer in leaving:
            writer.transport.abort()
        for _, writer in talking:
            writer.write((head % ("ws", upgrade)).encode())
            await asyncio.sleep(0)
            writer.write(client_frame(frames.TEXT, b'{"control":"ping"}'))

        for reader, _ in streams:
            assert (await until(reader, b'"session_id"')).startswith(b"HTTP/1.1 200 ")
        for reader, _ in talking:
            assert (await until(reader, b'"pong"')).startswith(b"HTTP/1.1 101 ")

        async def are_counted() -> bool:
            return (await edge.stats(session))["readers"] == {"websocket": 5, "sse": 20, "polling": 0}

        await eventually(are_counted)


async def test_those_that_come_together_are_opened_a_few_in_each_turn_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OPENED_IN_A_TURN", 3)
    opener, turns = NotingOpener(), list[int]()
    arrivals = Arrivals(with_timeouts(TakeoverHttpProtocol, LimitSettings()), opener)
    come = [arrivals(None, ServerState(), {}, asyncio.get_running_loop()) for _ in range(8)]
    for number, arrival in enumerate(come):
        arrival.connection_made(ClosableTransport(asyncio.Event()))
        head = f"GET /callbacks/sessions/sess_{number:024}/sse HTTP/1.1\r\nHost: localhost\r\n\r\n"
        arrival.data_received(head.encode())
    while len(opener.opened) < len(come) - 1:
        turns.append(len(opener.opened))
        come[6].connection_lost(None)
        await asyncio.sleep(0)

    assert [int(name[-1]) for name in opener.opened] == [0, 1, 2, 3, 4, 5, 7]
    assert turns[0] == 3 and max(after - before for before, after in pairwise(turns)) <= 3
    assert len(arrivals) == 0


class NotingOpener:
    """Opens every stream, and notes which."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, asked: StreamRequest, _transport: asyncio.Transport, _common: RawHeaders) -> bool:
        self.opened.append(asked.session_id)
        return True


class Nobody:
    """Opens no stream."""

    def open(self, _asked: StreamRequest, _transport: asyncio.Transport, _common: RawHeaders) -> bool:
        return False


class ClosableTransport(asyncio.Transport):
    """A connection of which only its end is of interest."""

    def __init__(self, closed: asyncio.Event) -> None:
        super().__init__()
        self._closed = closed

    def close(self) -> None:
        self._closed.set()
