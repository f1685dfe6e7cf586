"""Durable Streams by SSE: pages with their control in one write, and no event that is lost in silence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.settings import SessionSettings
from router.broker import Broker
from router.nats.settings import BrokerSettings
from tests.edge.conftest import EdgeFactory, n
from tests.edge.surfaces.conftest import streaming
from tests.edge.test_store_made_anew import delete

LIVE = {"offset": "-1", "live": "sse"}


@pytest.fixture
async def operator(own_nats: str) -> AsyncIterator[Broker]:
    """Somebody who changes the store past the edge."""
    async with Broker(BrokerSettings(own_nats), "operator") as broker:
        yield broker


def said(text: bytes) -> list[tuple[str, Any]]:
    blocks = [block.removeprefix("event: ") for block in text.decode().split("\n\n") if block]
    return [(name, json.loads(data)) for name, data in (block.split("\ndata:") for block in blocks)]


async def test_only_the_last_page_of_the_past_says_that_its_client_is_up_to_date(
    edge_factory: EdgeFactory, entity: str
) -> None:
    settings = SessionSettings(heartbeat=3600.0, mailbox_events=4)
    async with edge_factory(session=settings) as edge:
        cursors = await edge.numbers(entity, 10)
        async with streaming(edge, f"/streams/job.{entity}.>", params=LIVE) as stream:
            found = said(await stream.until(b"upToDate"))

    pages, controls = found[::2], found[1::2]
    assert {name for name, _ in pages} == {"data"} and {name for name, _ in controls} == {"control"}
    assert [number for _, page in pages for number in n(page)] == list(range(10))
    assert [each["streamNextOffset"] for _, each in controls] == [page[-1]["cursor"] for _, page in pages]
    assert controls[-1][1]["streamNextOffset"] == cursors[-1]
    assert ["upToDate" in each for _, each in controls] == [False] * (len(controls) - 1) + [True]


async def test_an_offset_that_retention_has_passed_is_gone(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, entity: str
) -> None:
    async with edge_factory(own_nats) as edge:
        cursors = await edge.numbers(entity, 5)
        await operator.connection.api("STREAM.PURGE.EVENTS", {"keep": 2})
        path = f"/streams/job.{entity}.>"
        live = [
            await edge.http.get(path, params={**LIVE, "offset": cursors[0], "live": each})
            for each in ("sse", "long-poll")
        ]
        plain = await edge.http.get(path, params={"offset": cursors[0]})
        anew = await edge.http.get(path)

    assert [(each.status_code, each.json()["code"]) for each in (*live, plain)] == [(410, "offset_gone")] * 3
    assert n(anew.json()) == [3, 4]


@pytest.mark.slow
async def test_a_stream_whose_events_are_lost_ends_and_its_client_is_told_when_it_comes_back(
    edge_factory: EdgeFactory, own_nats: str, operator: Broker, entity: str
) -> None:
    async with edge_factory(own_nats) as edge:
        await edge.numbers(entity, 1)
        path = f"/streams/job.{entity}.>"
        async with streaming(edge, path, params=LIVE) as stream:
            await stream.until(b"upToDate")
            await delete(operator, edge, "EVENTS")
            controls = [each for name, each in said(await stream.rest()) if name == "control"]
        back = await edge.http.get(path, params={**LIVE, "offset": controls[-1]["streamNextOffset"]})

    assert (back.status_code, back.json()["code"]) == (410, "offset_gone")
