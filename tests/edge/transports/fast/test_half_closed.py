"""Requests whose client ends its side of the connection behind them are answered; a stream ends then."""

from __future__ import annotations

import asyncio
import json

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
