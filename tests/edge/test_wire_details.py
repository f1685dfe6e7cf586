"""Details of HTTP and WebSocket that clients and proxies depend on: half-closed requests, versions, subprotocols, redirects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import websockets

from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import PATIENCE, eventually

JPEG = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: Y2FsbGJvYXJkIGRvY3Rvcg==\r\n"


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
async def edge(request: pytest.FixtureRequest, edge_factory: EdgeFactory) -> AsyncIterator[RunningEdge]:
    """An edge that takes sockets over after the handshake, and one that does not."""
    async with edge_factory(lane=request.param) as running:
        yield running


async def said(port: int, request: str, half_closed: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes, ends our side where that is asked for, and reads to the end: status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE):
        writer.write(request.encode())
        if half_closed:
            writer.write_eof()
        whole = await reader.read()
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]) if first else 0, headers, body


def get(path: str, *headers: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "".join(each + "\r\n" for each in headers) + "\r\n"


async def test_a_request_whose_client_ends_its_side_is_answered(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    event = json.dumps({"subject": f"job.{entity}.started"})
    post = f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(event)}\r\n\r\n{event}"

    status, headers, body = await said(edge.port, post, half_closed=True)
    polled = await said(edge.port, get(f"/callbacks/sessions/{session}/events"), half_closed=True)
    page = await said(edge.port, get("/"), half_closed=True)
    refused = await said(edge.port, get("/nothing"), half_closed=True)

    assert status == 201 and headers["connection"] == "close" and json.loads(body)["events"]
    assert polled[0] == 200 and json.loads(polled[2])["events"][0]["subject"] == f"job.{entity}.started"
    assert page[0] == 200 and len(page[2]) == int(page[1]["content-length"])
    assert refused[0] == 404


async def test_two_requests_in_one_packet_of_a_half_closed_connection_are_both_answered(edge: RunningEdge) -> None:
    _, _, rest = await said(edge.port, get("/livez") + get("/livez"), half_closed=True)

    assert rest.count(b'{"status":"ok"}') == 2


async def test_a_long_poll_of_a_half_closed_connection_brings_what_comes(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    path = f"/callbacks/sessions/{session}/events?wait=20"
    polling = asyncio.create_task(said(edge.port, get(path), half_closed=True))

    async def polled() -> bool:
        return (await edge.stats(session))["readers"]["polling"] == 1

    await eventually(polled, PATIENCE)

    await edge.numbers(entity, 1)

    assert json.loads((await polling)[2])["events"][0]["data"] == {"n": 0}


async def test_a_request_that_breaks_off_is_not_waited_for(edge: RunningEdge) -> None:
    status, _, _ = await said(
        edge.port, "POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", half_closed=True
    )

    assert status in (0, 400)


async def test_a_stream_takes_a_half_closed_connection_for_its_clients_leaving(edge: RunningEdge) -> None:
    session = await edge.session(delivery_method="sse")
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    async with asyncio.timeout(PATIENCE):
        writer.write(get(f"/callbacks/sessions/{session}/sse").encode())
        await reader.readuntil(b"event: ready")
        assert (await edge.stats(session))["readers"]["sse"] == 1

        writer.write_eof()

        await reader.read()  # to its end
    writer.close()

    async def left() -> bool:
        return (await edge.stats(session))["readers"]["sse"] == 0

    await eventually(left, PATIENCE)
    at_once = await said(edge.port, get(f"/callbacks/sessions/{session}/sse"), half_closed=True)
    assert at_once[0] == 200


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


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (["callboard.v1"], "callboard.v1"),
        (["mqtt", "callboard.v1"], "callboard.v1"),
        (["callboard.v1", "bearer.abc"], "callboard.v1"),
        (["mqtt"], None),
        (None, None),
    ],
)
async def test_a_subprotocol_is_answered_where_it_is_ours(
    edge: RunningEdge, store: Broker, entity: str, offered: list[str] | None, answered: str | None
) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    session = await edge.session()

    for path in (f"callbacks/sessions/{session}/ws", f"cameras/{entity}/ws"):
        async with websockets.connect(f"ws://127.0.0.1:{edge.port}/{path}", subprotocols=offered) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == answered


async def test_the_last_picture_of_an_mjpeg_stream_is_whole_before_another_comes(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    frame = pack({"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test"}, JPEG)
    await store.frame(frame_subject("camera", entity), frame)
    await store.connection.flush()

    body = b""
    async with asyncio.timeout(PATIENCE), edge.http.stream("GET", f"/cameras/{entity}/mjpeg") as stream:
        async for part in stream.aiter_raw():
            body += part
            if body.endswith(JPEG + b"\r\n--callboard-frame\r\n"):
                break

    assert body.startswith(b"--callboard-frame\r\nContent-Type: image/jpeg\r\n")
    assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=callboard-frame"


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/console", "./"), ("/console/", "../"), ("/callbacks/sessions/", "../sessions"),
        ("/callbacks/sessions/?limit=3", "../sessions?limit=3"), ("/livez//", "../../livez"),
    ],
)  # fmt: skip
async def test_redirects_are_relative_so_that_any_proxy_may_stand_before(
    edge: RunningEdge, asked: str, location: str
) -> None:
    status, headers, _ = await said(
        edge.port, get(asked, "X-Forwarded-Proto: https", "X-Forwarded-Host: board.example", "Connection: close")
    )

    assert (status, headers["location"]) == (307, location)


async def test_an_address_that_is_not_there_is_no_redirect(edge: RunningEdge) -> None:
    for path in ("/nothing/", "/nothing", "//", "/consoles/"):
        status, _, _ = await said(edge.port, get(path, "Connection: close"))
        assert status == 404, path
