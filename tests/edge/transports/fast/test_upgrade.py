"""Handshakes: what is refused, what is agreed to, and nothing that is sent early is lost."""

from __future__ import annotations

import json

import pytest

from edge.transports import frames
from tests.edge.conftest import RunningEdge
from tests.edge.transports.fast.raw import connected, handshake, next_of, until
from tests.edge.transports.raw import UPGRADE, get, said
from tests.edge.transports.test_frames import client_frame


@pytest.mark.parametrize("version", ["8", "7", "14", "", "13, 8", "thirteen"])
async def test_another_version_of_websocket_is_answered_with_the_one_there_is(edge: RunningEdge, version: str) -> None:
    session = await edge.session()

    status, headers, body = await said(
        edge.port, get(f"/callbacks/sessions/{session}/ws", UPGRADE + f"Sec-WebSocket-Version: {version}")
    )

    assert (status, headers["sec-websocket-version"]) == (426, "13")
    assert headers["content-type"] == "application/problem+json" and json.loads(body)["code"] == "websocket_version"


async def test_a_broken_handshake_is_refused_without_repeating_what_was_sent(edge: RunningEdge) -> None:
    session = await edge.session()

    status, headers, body = await said(
        edge.port,
        get(
            f"/callbacks/sessions/{session}/ws",
            UPGRADE + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: callboard.v1, bearer.se cret",
        ),
    )

    assert status == 400 and b"cret" not in body and json.loads(body)["code"] == "bad_request"
    assert "sec-websocket-version" not in headers


async def test_a_stream_over_http_1_0_and_one_behind_another_request(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)
    target = f"/callbacks/sessions/{session}/sse"
    host = f"Host: 127.0.0.1:{edge.port}\r\n"
    requests = (
        f"GET {target} HTTP/1.0\r\n{host}\r\n",
        f"GET /livez HTTP/1.1\r\n{host}\r\nGET {target} HTTP/1.1\r\n{host}\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nGET /livez HTTP/1.1\r\n{host}\r\n",
        f"GET {target} HTTP/1.1\r\n{host}Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    )
    for number, request in enumerate(requests, 1):
        async with connected(edge) as (reader, writer):
            writer.write(request.encode())
            await until(reader, f'"n":{number - 1}'.encode())
            await edge.numbers(entity, 1, start=number)
            await until(reader, f'"n":{number}'.encode())


async def test_what_is_sent_in_one_packet_with_the_handshake_is_heard(lane: RunningEdge) -> None:
    session = await lane.session()
    said = client_frame(frames.TEXT, b'{"control":"ping","id":"early"}') + client_frame(frames.PING, b"me too")

    async with handshake(lane, session, behind=said + client_frame(frames.TEXT, b'{"control":"ping"}')[:5]) as (
        reader,
        writer,
    ):
        assert json.loads(await next_of(reader, frames.TEXT, b"pong"))["id"] == "early"
        assert await next_of(reader, frames.PONG) == b"me too"
        writer.write(client_frame(frames.TEXT, b'{"control":"ping"}')[5:])
        assert json.loads(await next_of(reader, frames.TEXT, b"pong"))["id"] is None


async def test_a_client_with_a_smaller_window_than_all_share_is_served_uncompressed(lane: RunningEdge) -> None:
    session = await lane.session()
    async with handshake(lane, session, offer="permessage-deflate; server_max_window_bits=9") as (reader, _):
        await next_of(reader, frames.TEXT, b"ready")
