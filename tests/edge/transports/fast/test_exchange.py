"""Requests whose client ends its side of the connection behind them are answered; a stream ends then."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from edge.transports.fast.exchange import RequestExchange
from tests.edge.conftest import RunningEdge
from tests.edge.transports.raw import get, said
from tests.waiting import PATIENCE, eventually


async def test_a_request_whose_client_ends_its_side_is_answered(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    event = json.dumps({"subject": f"job.{entity}.started"})
    post = f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(event)}\r\n\r\n{event}"

    status, _, body = await said(edge.port, post, half_closed=True)
    polled = await said(edge.port, get(f"/callbacks/sessions/{session}/events"), half_closed=True)
    page = await said(edge.port, get("/"), half_closed=True)
    refused = await said(edge.port, get("/nothing"), half_closed=True)

    assert status == 201 and json.loads(body)["events"]
    assert polled[0] == 200 and json.loads(polled[2])["events"][0]["subject"] == f"job.{entity}.started"
    assert page[0] == 200 and len(page[2]) == int(page[1]["content-length"])
    assert refused[0] == 404


async def test_two_requests_in_one_packet_of_a_half_closed_connection_are_both_answered(edge: RunningEdge) -> None:
    _, _, rest = await said(edge.port, get("/livez") + get("/livez"), half_closed=True)

    assert rest.count(b'{"status":"ok",') == 2


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


class Written(asyncio.Transport):
    """A transport that notes each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


DEFAULT = [(b"date", b"today"), (b"x-content-type-options", b"nosniff")]


def cycle_over(transport: Written, method: str, keep_alive: bool, answered: list[str]) -> RequestResponseCycle:
    log = logging.getLogger("test")
    return RequestResponseCycle(
        scope={"type": "http", "method": method},  # type: ignore[typeddict-item]
        transport=transport,
        flow=FlowControl(transport),
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=DEFAULT,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: answered.append("answered"),
    )


async def sent(send: Any, messages: list[dict[str, Any]]) -> str:
    """Sends an answer; says what the server raises."""
    for message in messages:
        try:
            await send(message)
        except RuntimeError as fault:
            return str(fault)
    return ""


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("status", "headers", "bodies", "writes"),
    [
        (201, [(b"content-length", b"4"), (b"content-type", b"text/plain")], [b"body"], 1),
        (404, [(b"content-length", b"0")], [b""], 1),
        (200, [(b"content-length", b"4")], [b"bo", b"dy"], 3),
        (200, [(b"content-type", b"text/plain")], [b"body"], 2),
        (200, [(b"content-length", b"4"), (b"connection", b"close")], [b"body"], 2),
        (204, [], [b""], 2),
        (304, [(b"content-length", b"0")], [b""], 2),
        (200, [(b"content-length", b"3")], [b"body"], None),
        (200, [(b"content-length", b"5")], [b"body"], None),
        (200, [(b"content-length", b"4"), (b"x-odd", b"a\r\nb: c")], [b"body"], None),
        (200, [(b"content-length", b"4"), (b"x odd", b"a")], [b"body"], None),
    ],
)
async def test_an_answer_is_what_uvicorn_makes_of_it_and_a_whole_one_with_a_length_is_one_write(
    status: int,
    headers: list[tuple[bytes, bytes]],
    bodies: list[bytes],
    writes: int | None,
    method: str,
    keep_alive: bool,
) -> None:
    messages: list[dict[str, Any]] = [{"type": "http.response.start", "status": status, "headers": headers}]
    messages += [
        {"type": "http.response.body", "body": body, "more_body": place < len(bodies) - 1}
        for place, body in enumerate(bodies)
    ]
    ours, theirs = Written(), Written()
    answered: tuple[list[str], list[str]] = [], []
    cycle, plain = (
        cycle_over(ours, method, keep_alive, answered[0]),
        cycle_over(theirs, method, keep_alive, answered[1]),
    )

    raised = await sent(RequestExchange(cycle, lambda: False).send, messages), await sent(plain.send, messages)

    assert raised[0] == raised[1]
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert (ours.closed, answered[0]) == (theirs.closed, answered[1])
    assert (cycle.response_complete, cycle.message_event.is_set()) == (
        plain.response_complete,
        plain.message_event.is_set(),
    )
    if method == "GET" and writes is not None:
        assert len(ours.writes) == writes


async def test_a_body_is_taken_at_once_only_where_all_of_it_has_come() -> None:
    cycle = cycle_over(Written(), "POST", True, [])
    exchange = RequestExchange(cycle, lambda: False)
    cycle.body += b"half"
    cycle.message_event.set()
    assert exchange.whole_body() is None

    cycle.body += b" and half"
    cycle.more_body = False

    assert exchange.whole_body() == b"half and half"
    assert exchange.whole_body() is None, "it is taken once"


async def test_a_body_that_comes_in_two_packets_is_read_whole(edge: RunningEdge, entity: str) -> None:
    event = json.dumps({"subject": f"job.{entity}.started"})
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    head = f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(event)}\r\n\r\n"
    writer.write((head + event[:10]).encode())
    await writer.drain()
    # The server answers a second connection, so it has read what the first one sent.
    assert (await said(edge.port, get("/livez", "Connection: close")))[0] == 200
    writer.write(event[10:].encode())

    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 201")
