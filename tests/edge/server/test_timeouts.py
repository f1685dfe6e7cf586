"""Tests the request timeouts and head limits that end slow-loris connections."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from edge.settings import LimitSettings
from tests.edge.conftest import EdgeFactory
from tests.waiting import PATIENCE, eventually, in_time


async def test_a_head_that_does_not_end_is_cut_off_and_others_are_served_meanwhile(edge_factory: EdgeFactory) -> None:
    async with edge_factory(limits=LimitSettings(head_seconds=2.0)) as edge:
        for said in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(said)
            assert (await edge.http.get("/livez")).status_code == 200
            answer = await in_time(reader.read())
            writer.close()
            assert answer == b"" if not said else b"408 Request Timeout" in answer and b'"request_timeout"' in answer


async def test_a_head_that_dribbles_gets_no_more_time_than_one_that_stops(edge_factory: EdgeFactory) -> None:
    async with asyncio.timeout(PATIENCE), edge_factory(limits=LimitSettings(head_seconds=0.4)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        begun = time.monotonic()
        ended = asyncio.ensure_future(_all_of(reader))
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                writer.write(b"X" if time.monotonic() > begun + 0.05 else b"GET /livez HTTP/1.1\r\nX-A: ")
                await asyncio.wait({ended}, timeout=0.02)
        writer.close()

        heard = await ended
        # Who still writes into what is closed may be answered by a reset, which takes unread bytes with it.
        assert b"408" in heard or not heard


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(65536):
            heard += some
    return heard


async def test_the_head_of_the_next_request_on_a_connection_is_held_to_it_too(edge_factory: EdgeFactory) -> None:
    async with edge_factory(limits=LimitSettings(head_seconds=2.0)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = await reader.readuntil(b'"status":"ok"')
        writer.write(b"GET /livez HTTP/1.1\r\nHost: loc")
        rest = await in_time(reader.read())
        writer.close()

        assert b"200 OK" in first and b"408" in rest


async def test_a_body_that_dribbles_is_cut_off(edge_factory: EdgeFactory) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    async with edge_factory(limits=LimitSettings(body_seconds=2.0)) as edge:
        for path in (b"/events", b"/callbacks/sessions", b"/livez", b"/nowhere"):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(head % path)
            answer = await in_time(reader.read())
            writer.close()
            if path in (b"/events", b"/callbacks/sessions"):
                assert b"408" in answer and b'"code":"request_timeout"' in answer, path


@pytest.mark.parametrize("lane", [True, False])
async def test_a_head_that_is_too_large_is_refused_without_being_held(
    edge_factory: EdgeFactory,
    lane: bool,
) -> None:
    async with edge_factory(lane=lane, limits=LimitSettings(head_bytes=8192)) as edge:
        for said in (
            b"GET /livez?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 2_000_000,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(said)
            try:
                answer = await in_time(reader.read())
            except ConnectionResetError:
                assert len(said) > 1_000_000  # cut off while it still sent
            else:
                assert b"431" in answer and b'"code":"head_too_large"' in answer, said[:40]
            writer.close()
        large = {"X-A": "a" * 7000}
        assert (await edge.http.get("/livez", headers=large)).status_code == 200


async def test_a_long_stream_is_not_cut_off_by_the_deadlines_of_its_request(edge_factory: EdgeFactory) -> None:
    limits = LimitSettings(head_seconds=2.0, body_seconds=2.0)
    async with edge_factory(limits=limits) as edge:
        session = await edge.session(subjects=None)
        async with edge.socket(session) as socket, edge.sse(session) as stream:
            begun = time.monotonic()
            await eventually(lambda: time.monotonic() > begun + 3.0)
            await edge.http.post(f"/callbacks/sessions/{session}/test", json={})
            assert len(await socket.events(1)) == len(await stream.events(1)) == 1
