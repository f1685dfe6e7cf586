"""Connections that have sent nothing yet: given on with their first bytes, and closed when they stay silent."""

from __future__ import annotations

import asyncio
import contextlib
import time

from edge.server.arrivals import Arrivals
from edge.server.timeouts import with_timeouts
from edge.settings import LimitSettings
from edge.transports.fast.head import RawHeaders, StreamRequest
from edge.transports.fast.upgrade import TakeoverHttpProtocol
from tests.edge.conftest import EdgeFactory
from tests.edge.transports.fast.raw import connected, until
from tests.waiting import PATIENCE


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
