"""What a client that asks for server-sent events is told where it is refused for a moment: it stays, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx_sse
import pytest
from prometheus_client import REGISTRY

from edge.app import application
from edge.errors import Problem
from edge.problem import to_response
from edge.runtime import Edge
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings, LimitSettings
from edge.transports.refusal import TRANSIENT, in_band
from edge.webhooks.client.ssrf import GuardSettings
from router.topology import TopologySettings
from tests.edge.conftest import RunningEdge
from tests.proxy import Proxy
from tests.waiting import PATIENCE, eventually, in_time, unhurried

EVENT_SOURCE = {"Accept": "text/event-stream"}


def refusals(code: str) -> float:
    counted = REGISTRY.get_sample_value("edge_refusals_total", {"code": code})
    assert counted is not None
    return counted


@contextlib.asynccontextmanager
async def running(nats: str, **settings: Any) -> AsyncIterator[tuple[RunningEdge, Edge, asyncio.Event]]:
    """An edge in this process, with its parts at hand, and what stops it."""
    listeners = bind("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    stop, ready = asyncio.Event(), asyncio.Event()
    edges: list[Edge] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                application(
                    EdgeSettings(port=port, **{"drain": 0.1, **settings}),
                    unhurried(nats),
                    TopologySettings(),
                    guard=GuardSettings(allow_loopback=True, allow_http=True),
                ),
                *listeners,
                stop=stop,
                opened=edges.append,
                ready=lambda _port: ready.set(),
            )
        )
        await in_time(ready.wait())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            try:
                yield RunningEdge(port, http), edges[0], stop
            finally:
                stop.set()


async def told(http: httpx.AsyncClient, path: str, **headers: str) -> tuple[httpx.Response, list[Any]]:
    async with httpx_sse.aconnect_sse(http, "GET", path, headers=headers) as source:
        return source.response, [event async for event in source.aiter_sse()]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"])
async def test_a_draining_edge_answers_an_event_source_in_band_and_others_with_503(
    nats_server: str, entity: str, lane: bool
) -> None:
    async with running(nats_server, lane=lane) as (edge, parts, _):
        session = await edge.session(subjects=[f"job.{entity}.>"])
        (cursor,) = await edge.numbers(entity, 1)
        path = f"/callbacks/sessions/{session}/sse"
        parts.draining = True
        before = refusals("draining")

        answer, (bye,) = await told(edge.http, path, **{"Last-Event-ID": cursor}, Origin="http://localhost:3000")
        plain = await edge.http.get(path, headers={"Accept": "*/*"})
        publish = await edge.http.post("/events", json={"subject": "job.x.y", "data": {}}, headers=EVENT_SOURCE)
        parts.draining = False
        assert refusals("draining") == before + 3

    said = json.loads(bye.data)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["connection"] == "close" and answer.headers["retry-after"] == "1"
    # A browser would else take it for a refusal.
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (bye.event, bye.id, said["cursor"]) == ("bye", cursor, cursor)
    assert (said["reason"], said["code"], said["reconnect"]) == ("shutdown", 4001, True)
    assert bye.retry == said["delay_ms"] and 1000 <= bye.retry <= 2000
    assert said["problem"]["code"] == "draining"
    for refused in (plain, publish):
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")


async def test_too_many_connections_are_refused_in_band_and_a_wrong_address_for_good(
    nats_server: str, entity: str
) -> None:
    limits = LimitSettings(loopback=True, connections_per_address=1)
    async with running(nats_server, limits=limits) as (edge, _, _):
        session = await edge.session(subjects=[f"job.{entity}.>"])
        path = f"/callbacks/sessions/{session}/sse"
        async with edge.sse(session, headers=EVENT_SOURCE) as stream:
            assert (await stream.next())[0] == "ready"
            answer, (bye,) = await told(edge.http, path)
            plain = await edge.http.get(path)
            wrong = [
                await edge.http.get(wrong, headers=EVENT_SOURCE)
                for wrong in (f"{path}?cursor=nope", "/callbacks/sessions/sess_000000000000000000000000/sse")
            ]

    said = json.loads(bye.data)
    assert answer.status_code == 200
    assert (said["reason"], said["problem"]["code"]) == ("refused_for_now", "too_many")
    assert bye.retry is not None and 10_000 <= bye.retry <= 20_000
    assert (plain.status_code, plain.headers["retry-after"]) == (429, "10")
    assert [answer.status_code for answer in wrong] == [400, 404]


@pytest.mark.slow
async def test_an_edge_whose_store_is_away_refuses_an_event_source_in_band(nats_server: str) -> None:
    # A session that this edge does not know is looked up in the store.
    unknown = "/callbacks/sessions/sess_000000000000000000000000/sse"
    async with (
        Proxy(int(nats_server.rpartition(":")[2])) as proxy,
        running(f"nats://127.0.0.1:{proxy.port}") as (edge, _, _),
    ):
        proxy.refuse()

        async def away() -> bool:
            return (await edge.http.get(unknown)).status_code == 503

        await eventually(away)
        answer, events = await told(edge.http, unknown)
        plain = await edge.http.get(unknown)
        proxy.accept()

    assert (answer.status_code, [event.event for event in events]) == (200, ["bye"])
    assert json.loads(events[0].data)["problem"]["code"] == plain.json()["code"]
    assert plain.status_code == 503


@pytest.mark.parametrize("code", ["draining", "broker_unavailable", "internal", "too_many", "keys_unavailable"])
def test_what_is_refused_for_a_moment_says_when_to_come_back(code: str) -> None:
    problem = Problem(code, "a\nb\u2028c")
    assert problem.status in TRANSIENT
    body = in_band(problem, "x\ndata: evil").body

    assert len(bytes(body).decode().splitlines()) == 4
    assert int(bytes(body).split(b"\n")[0].removeprefix(b"retry: ")) >= 1000
    assert b"\nid:" not in bytes(body)


def test_a_problem_that_is_made_and_not_sent_counts_as_no_refusal() -> None:
    before = refusals("bad_webhook")

    to_response(Problem("bad_webhook", "tried, caught and answered otherwise"))

    assert refusals("bad_webhook") == before


async def test_a_draining_edge_accepts_nothing_new_and_finishes_what_it_has(nats_server: str, entity: str) -> None:
    async with running(nats_server, drain=3.0) as (edge, parts, stop):
        session = await edge.session(subjects=[f"job.{entity}.>"])
        idle = await asyncio.open_connection("127.0.0.1", edge.port)
        polling = asyncio.create_task(edge.poll(session, "?wait=30"))
        await eventually(lambda: parts.hub.readers)
        async with edge.sse(session) as first, edge.sse(session) as second:
            await first.next()
            await second.next()
            stop.set()

            async def refused() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
                except ConnectionRefusedError:
                    return True
                writer.close()
                return False

            await eventually(refused)
            # One that says nothing is of no use any more.
            assert await in_time(idle[0].read(), 30) == b""
            # Readers are sent away one after the other, and each is told why.
            names = [(await stream.next(30))[0] for stream in (first, second)]
        page = await polling
        idle[1].close()

    assert names == ["bye", "bye"]
    assert page["events"] == []
