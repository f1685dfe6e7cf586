"""Tests of router/nats/service.py against a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import msgpack
import pytest

from router.broker import Broker
from router.errors import BadInput, NoResponders
from router.nats.headers import Reply, header
from router.nats.service import Endpoint, Request, Service
from tests.waiting import eventually


class Echo:
    """Takes requests in the read loop and answers them later, as an actor does."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Request] = asyncio.Queue()

    def called(self, request: Request) -> None:
        self.requests.put_nowait(request)

    async def answer(self) -> None:
        while True:
            request = await self.requests.get()
            try:
                given = request.arguments()
            except BadInput as fault:
                await request.fail(400, str(fault))
                continue
            if given.get("big"):
                await request.respond("x" * 9_000_000)
            elif given.get("fail"):
                await request.fail(int(given["fail"]), "no\r\nInjected: header")
            else:
                await request.respond(given)


@contextlib.asynccontextmanager
async def served(broker: Broker, name: str, called: Callable[[Request], None]) -> AsyncIterator[Service]:
    endpoint = Endpoint("echo", f"cmd.{name}.main.echo", called, {"about": "says it back"})
    service = Service(
        broker.connection,
        name,
        "1.2.3",
        description="Says it back.",
        endpoints=[endpoint],
        stats=lambda: {"restarts": 7},
    )
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    try:
        yield service
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def echo(broker: Broker, entity: str) -> AsyncIterator[Service]:
    echo = Echo()
    answering = asyncio.ensure_future(echo.answer())
    async with served(broker, entity, echo.called) as service:
        yield service
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


async def ask(broker: Broker, service: Service, payload: bytes, headers: dict[str, str] | None = None) -> Reply:
    return await broker.connection.ask(service.endpoints[0].subject, payload, headers)


async def test_json_is_answered_with_json(broker: Broker, echo: Service) -> None:
    reply = await ask(broker, echo, b' {"sku": "tea"}')

    assert json.loads(reply.payload) == {"sku": "tea"}
    assert header(reply.headers, b"Content-Type") == "application/json"


async def test_msgpack_is_answered_with_msgpack(broker: Broker, echo: Service) -> None:
    reply = await ask(broker, echo, msgpack.packb({"raw": b"\x00\xff", "n": 1}))

    assert msgpack.unpackb(reply.payload) == {"raw": b"\x00\xff", "n": 1}
    assert header(reply.headers, b"Content-Type") == "application/msgpack"


async def test_a_content_type_decides_where_it_is_given(broker: Broker, echo: Service) -> None:
    reply = await ask(broker, echo, b'{"a": 1}', {"Content-Type": "application/json; charset=utf-8"})

    assert json.loads(reply.payload) == {"a": 1}


async def test_an_empty_request_has_no_arguments(broker: Broker, echo: Service) -> None:
    assert (await ask(broker, echo, b"")).payload == b"{}"


@pytest.mark.parametrize("payload", [b"{broken", b"[1]", b"\xc1", b"\x93\x01\x02\x03", msgpack.packb({1: 2}), b"hello"])
async def test_what_is_no_map_is_answered_with_400(broker: Broker, echo: Service, payload: bytes) -> None:
    reply = await ask(broker, echo, payload)

    assert reply.payload == b""
    assert header(reply.headers, b"Nats-Service-Error-Code") == "400"
    assert header(reply.headers, b"Nats-Service-Error")


async def test_an_error_text_cannot_add_headers(broker: Broker, echo: Service) -> None:
    reply = await ask(broker, echo, b'{"fail": 409}')

    assert header(reply.headers, b"Nats-Service-Error-Code") == "409"
    assert header(reply.headers, b"Nats-Service-Error") == "no Injected: header"
    assert header(reply.headers, b"Injected") is None


async def test_an_answer_that_is_too_large_is_told_as_an_error(broker: Broker, echo: Service) -> None:
    reply = await ask(broker, echo, b'{"big": true}')

    assert header(reply.headers, b"Nats-Service-Error-Code") == "500"


async def test_the_service_is_found_by_all_name_and_id(broker: Broker, echo: Service) -> None:
    for subject in (f"$SRV.PING.{echo.name}", f"$SRV.PING.{echo.name}.{echo.id}"):
        answer = json.loads((await broker.connection.ask(subject, b"")).payload)
        assert answer["type"] == "io.nats.micro.v1.ping_response"
        assert (answer["name"], answer["id"], answer["version"]) == (echo.name, echo.id, "1.2.3")

    everybody: list[str] = []
    address = broker.connection.expect(lambda _s, _r, payload, _h: everybody.append(json.loads(payload)["name"]))
    await broker.connection.send("$SRV.PING", b"", reply=address)
    await eventually(lambda: echo.name in everybody)
    broker.connection.forget(address)


async def test_info_lists_the_endpoints_with_their_metadata(broker: Broker, echo: Service) -> None:
    answer = json.loads((await broker.connection.ask(f"$SRV.INFO.{echo.name}", b"")).payload)

    assert answer["type"] == "io.nats.micro.v1.info_response"
    assert answer["description"] == "Says it back."
    assert answer["metadata"] == {}
    assert answer["endpoints"] == [
        {
            "name": "echo",
            "subject": f"cmd.{echo.name}.main.echo",
            "queue_group": "q",
            "metadata": {"about": "says it back"},
        }
    ]


async def test_stats_count_requests_errors_and_time(broker: Broker, echo: Service) -> None:
    await ask(broker, echo, b"{}")
    await ask(broker, echo, b'{"fail": 418}')

    answer = json.loads((await broker.connection.ask(f"$SRV.STATS.{echo.name}", b"")).payload)

    (endpoint,) = answer["endpoints"]
    assert answer["type"] == "io.nats.micro.v1.stats_response"
    assert answer["started"].endswith("Z")
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (2, 1)
    assert endpoint["last_error"].startswith("418:")
    assert endpoint["processing_time"] > 0
    assert endpoint["average_processing_time"] == endpoint["processing_time"] // 2
    assert endpoint["data"] == {"restarts": 7}


async def test_two_of_one_name_share_the_requests(broker: Broker, entity: str) -> None:
    taken: list[Request] = []
    async with served(broker, entity, taken.append), served(broker, entity, taken.append):
        for _ in range(20):
            await broker.connection.send(f"cmd.{entity}.main.echo", b"{}")
        await broker.connection.flush()

        assert len(taken) == 20


async def test_a_closed_service_refuses_and_a_cancelled_one_is_gone(broker: Broker, entity: str) -> None:
    async with served(broker, entity, lambda request: None) as service:
        service.close()
        reply = await ask(broker, service, b"{}")
        assert header(reply.headers, b"Nats-Service-Error-Code") == "503"

    with pytest.raises(NoResponders):
        await ask(broker, service, b"{}")
