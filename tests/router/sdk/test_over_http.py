"""Tests of router/sdk/over_http.py against a real edge."""

from __future__ import annotations

import time

import msgspec
import pytest

from router.broker import Broker
from router.codec import encode
from router.errors import RunEnded, RunSuperseded
from router.event import Event
from router.runs import RunLedger
from router.sdk import Run, RunSettings
from router.sdk.encoder import RunEncoder
from router.sdk.over_http import HttpDoor, HttpSender
from router.sdk.queued import Queued
from tests.edge.conftest import EdgeFactory
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually


def unused() -> Queued:
    raise AssertionError("the run is not revived")


async def test_an_event_that_the_edge_refuses_holds_up_no_other(
    edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    items = [encoder.encode(n, "noted", {"n": n})[1] for n in range(1, 4)]
    items.insert(2, encoder.encode(9, "noted", {"text": "x" * 1_200_000})[1])
    async with edge_factory() as edge:
        sender = HttpSender(HttpDoor(edge.url), encoder.life, 10, opens=True)
        stored = refused = 0
        while stored + refused < 4:
            sent = await sender.send(items[stored + refused :], unused)
            assert sent.away is None
            stored, refused = stored + sent.stored, refused + sent.refused
        await sender.release()

    assert (stored, refused) == (3, 1)
    assert [event.data["n"] for event in await events_of(broker, entity)] == [1, 2, 3]


async def test_a_missing_right_keeps_events_and_drops_none(edge_factory: EdgeFactory, entity: str) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    async with edge_factory() as edge:
        sender = HttpSender(HttpDoor(f"{edge.url}/nothing-here"), encoder.life, 10, opens=True)
        sent = await sender.send([encoder.encode(1, "noted", {})[1]], unused)
        await sender.release()

    assert (sent.stored, sent.refused) == (0, 0) and sent.away is not None


async def test_a_run_over_http_is_stopped_by_its_heartbeat_s_answer(
    edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    async with edge_factory() as edge, Run(entity, url=edge.url, settings=RunSettings(ttl=1)) as run:
        await eventually(lambda: run.waiting == 0)
        await RunLedger(broker).request_stop("agent", entity, "enough")
        await eventually(run.stopped.is_set)
        assert run.stop_reason == "enough"
        await run.complete(success=False, status="cancelled")
        await eventually(lambda: run.waiting == 0)

    assert types(await events_of(broker, entity)) == ["workflow_start", "stopping", "completion"]


@pytest.mark.parametrize("ttl", [2, 300], ids=["noticed by a heartbeat", "noticed by the completion"])
async def test_a_run_over_http_that_was_failed_in_its_place_revives(
    edge_factory: EdgeFactory, broker: Broker, entity: str, ttl: int
) -> None:
    async with edge_factory() as edge:
        async with Run(entity, url=edge.url, settings=RunSettings(ttl=ttl)) as run:
            await eventually(lambda: run.waiting == 0)
            await _end(broker, entity, synthesized=True)
            if ttl == 2:
                await eventually(lambda: run.revived)
            await run.thinking("on")

        events = await events_of(broker, entity)

    assert run.revived and types(events).count("completion") == 2
    starts = [event for event in events if event.type == "workflow_start"]
    assert starts[1].data["resumed"] is True and events[-1].data["success"] is True
    # The first heartbeat and the completion may notice it both, and each begin a life: the newest is the one that ends.
    assert events[-1].data["incarnation"] == starts[-1].data["incarnation"]


async def test_a_run_over_http_that_somebody_else_has_ended_is_told_so(
    edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    async with edge_factory() as edge:
        with pytest.raises(RunEnded):
            async with Run(entity, url=edge.url, settings=RunSettings(ttl=600)) as run:
                await eventually(lambda: run.waiting == 0)
                await _end(broker, entity)


async def _end(broker: Broker, entity: str, synthesized: bool = False) -> None:
    end = Event.new(f"agent.{entity}.completion", {"success": False, "synthesized": synthesized}, source="other")
    await RunLedger(broker).end(end, encode(end), synthesized=synthesized)


async def test_what_a_superseded_run_still_says_over_http_is_refused(
    edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    async with edge_factory() as edge:
        with pytest.raises(RunSuperseded):
            async with Run(entity, url=edge.url, settings=RunSettings(ttl=300)) as run:
                await eventually(lambda: run.waiting == 0)
                await edge.publish({"subject": f"agent.{entity}.workflow_start", "data": {"incarnation": "pod-2"}})
                await run.thinking("on")
                await eventually(lambda: run.waiting == 0)

    assert run.refused == 2
    assert types(await events_of(broker, entity)) == ["workflow_start", "workflow_start"]


async def test_an_event_that_waited_keeps_its_time_and_one_of_a_wrong_clock_gets_that_of_the_edge(
    edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    now = time.time_ns()
    sent = []
    async with edge_factory() as edge:
        sender = HttpSender(HttpDoor(edge.url), encoder.life, 10, opens=True)
        for number, moment in enumerate((now - 60_000_000_000, now + 3_600_000_000_000), 1):
            event, item = encoder.encode(number, "noted", {})
            payload = encode(msgspec.structs.replace(event, time=moment))
            sent.append(await sender.send([item._replace(payload=payload)], unused))
        await sender.release()

    late, early = await events_of(broker, entity)
    assert [each.stored for each in sent] == [1, 1]
    assert late.time == now - 60_000_000_000 and early.time < now + 60_000_000_000


async def test_a_wrong_path_is_told_as_such_and_its_events_are_kept(edge_factory: EdgeFactory, entity: str) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    async with edge_factory() as edge:
        sender = HttpSender(HttpDoor(f"{edge.url}/api"), encoder.life, 10, opens=True)
        sent = await sender.send([encoder.encode(1, "noted", {})[1]], unused)
        await sender.release()

    assert (sent.stored, sent.refused) == (0, 0)
    assert sent.away is not None and f"{edge.url}/api/events is not found (HTTP 404)" in sent.away


@pytest.mark.parametrize("limits", [{"max_body": 20_000}, {"max_batch": 7}], ids=["body", "batch"])
async def test_an_edge_that_takes_less_loses_only_the_event_that_is_too_large_for_it(
    edge_factory: EdgeFactory, broker: Broker, entity: str, caplog: pytest.LogCaptureFixture, limits: dict[str, int]
) -> None:
    large = {"max_body": 20_000}
    async with edge_factory(**{**large, **limits}) as edge, Run(entity, url=edge.url) as run:
        for n in range(150):
            await run.emit("noted", {"n": n, "text": "x" * (3_000_000 if n == 40 else 60_000 if n == 70 else 1_700)})
        await run.complete("y" * 30_000, tokens_used=7)

    events = await events_of(broker, entity)
    assert [event.data["n"] for event in events if event.type == "noted"] == [
        n for n in range(150) if n not in (40, 70)
    ]
    assert run.report.refused == 2
    assert events[-1].type == "completion" and events[-1].data["success"] is True
    assert events[-1].data["tokens_used"] == 7 and events[-1].data["truncated"] is True
