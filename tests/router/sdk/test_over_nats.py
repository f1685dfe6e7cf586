"""Tests of router/sdk/over_nats.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from router.broker import Broker
from router.codec import encode
from router.errors import RunEnded, RunSuperseded
from router.event import Event
from router.runs import RunLedger
from router.sdk import Run, RunSettings
from router.sdk.encoder import RunEncoder
from router.sdk.over_nats import NatsSender
from router.sdk.queued import Queued
from tests.edge.conftest import EdgeFactory
from tests.router.scripted_stream import ELECTING, FULL, IN_PROCESS, NO_STORAGE, TOO_LARGE, connected, scripted_stream
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually, in_time


def unused() -> Queued:
    raise AssertionError("the run is not revived")


def noted(encoder: RunEncoder, count: int) -> list[Queued]:
    return [encoder.encode(n, "noted", {"n": n})[1] for n in range(1, count + 1)]


@pytest.mark.parametrize("answer", [FULL, NO_STORAGE, IN_PROCESS, ELECTING])
async def test_what_the_stream_cannot_take_now_is_sent_again_with_all_behind_it(own_nats: str, answer: Any) -> None:
    encoder = RunEncoder("job", "one", "sdk")
    async with connected(own_nats) as broker, scripted_stream(own_nats) as stream:
        sender = NatsSender(broker, encoder.life, 10, opens=False)
        stream.answers = [answer]
        items = noted(encoder, 3)

        first = await sender.send(items, unused)
        again = await sender.send(items, unused)

    assert (first.stored, first.refused) == (0, 0) and first.away is not None
    assert again == (3, 0, None, None)
    assert stream.ids == [item.dedup for item in items] * 2


async def test_an_event_that_jetstream_refuses_for_good_holds_up_no_other(own_nats: str) -> None:
    encoder = RunEncoder("job", "one", "sdk")
    async with connected(own_nats) as broker, scripted_stream(own_nats) as stream:
        sender = NatsSender(broker, encoder.life, 10, opens=False)
        stream.answers = [TOO_LARGE]

        assert await sender.send(noted(encoder, 2), unused) == (1, 1, None, None)


async def test_a_run_that_was_failed_in_its_place_revives_and_ends_as_it_did(
    broker: Broker, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with Run(entity, broker, name="Frozen", settings=RunSettings(ttl=2)) as run:
            await run.progress(0.5)
            await eventually(lambda: run.waiting == 0)
            first = run.incarnation
            await _fail(broker, entity)
            await eventually(lambda: run.revived)
            await run.progress(0.25)

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "progress", "completion", "workflow_start", "progress", "completion"]
    assert (
        events[3].data == {"name": "Frozen", "incarnation": run.incarnation, "resumed": True}
        and run.incarnation != first
    )
    assert events[4].data["progress"] == 0.5 and events[5].data["success"] is True
    assert f"lease of run {entity} ran out" in caplog.text


async def test_a_completion_on_its_way_revives_a_run_that_was_failed_in_its_place(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, settings=RunSettings(ttl=600)) as run:
        await eventually(lambda: run.waiting == 0)
        await _fail(broker, entity)

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "completion", "workflow_start", "completion"]
    assert events[3].data["success"] is True and events[3].data["incarnation"] == events[2].data["incarnation"]
    assert run.revived and run.report.refused == 0


async def test_a_run_that_somebody_else_has_ended_is_told_so(broker: Broker, entity: str) -> None:
    other = Event.new(f"agent.{entity}.completion", {"success": False}, source="other")

    with pytest.raises(RunEnded):
        async with Run(entity, broker, settings=RunSettings(ttl=600)) as run:
            await eventually(lambda: run.waiting == 0)
            await RunLedger(broker).end(other, encode(other))

    assert types(await events_of(broker, entity)) == ["workflow_start", "completion"]


async def test_a_run_that_another_process_has_begun_anew_is_told_so(broker: Broker, entity: str) -> None:
    with pytest.raises(RunSuperseded):
        async with Run(entity, broker, settings=RunSettings(ttl=1)) as old:
            await eventually(lambda: old.waiting == 0)
            async with Run(entity, broker) as new:
                await eventually(lambda: new.waiting == 0)
                await eventually(lambda: isinstance(old._delivery.over, RunSuperseded))
                await old.thinking("too late")
                await new.thinking("in time")

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "workflow_start", "thinking", "completion"]
    assert events[3].data["incarnation"] == new.incarnation and old.refused == 2


async def test_a_stop_that_waits_in_the_ledger_reaches_the_run(broker: Broker, entity: str) -> None:
    async with Run(entity, broker, settings=RunSettings(ttl=1)) as run:
        await eventually(lambda: run.waiting == 0)
        await RunLedger(broker).request_stop("agent", entity, "enough")
        await in_time(run.stopped.wait(), 60)

    assert run.stop_reason == "enough"
    assert (await events_of(broker, entity))[-1].data["status"] == "cancelled"


async def _fail(broker: Broker, entity: str) -> None:
    """What the agent actor does for a producer whose lease ran out."""
    gone = Event.new(f"agent.{entity}.completion", {"success": False, "synthesized": True}, source="agent")
    await RunLedger(broker).end(gone, encode(gone), synthesized=True)


@pytest.mark.parametrize("transport", ["nats", "http"])
async def test_what_a_revived_run_says_comes_behind_its_new_start(
    edge_factory: EdgeFactory, broker: Broker, nats_server: str, entity: str, transport: str
) -> None:
    async with edge_factory() as edge:
        url = nats_server if transport == "nats" else edge.url
        async with Run(entity, url=url, settings=RunSettings(ttl=300)) as run:
            await eventually(lambda: run.waiting == 0)
            end = Event.new(f"agent.{entity}.completion", {"success": False, "synthesized": True}, source="agent")
            await RunLedger(broker).end(end, encode(end), synthesized=True)
            # As after a pause of the process in which the lease ran out.
            run._sender._refreshed = -1e9
            await run.thinking("on")
            await eventually(lambda: run.waiting == 0)

    assert types(await events_of(broker, entity)) == [
        "workflow_start", "completion", "workflow_start", "thinking", "completion",
    ]  # fmt: skip
    assert run.revived


@pytest.mark.parametrize("transport", ["nats", "http"])
async def test_a_completion_that_is_too_large_ends_its_run_by_its_outcome(
    edge_factory: EdgeFactory, broker: Broker, nats_server: str, entity: str, transport: str
) -> None:
    # Said before it is known what the server takes.
    async with edge_factory() as edge, Run(entity, url=nats_server if transport == "nats" else edge.url) as run:
        await run.complete("y" * (broker.largest_event + 1), tokens_used=7)

    end = (await events_of(broker, entity))[-1]
    assert end.type == "completion" and run.report.refused == 0
    assert {name: end.data.get(name) for name in ("success", "tokens_used", "truncated", "result")} == {
        "success": True, "tokens_used": 7, "truncated": True, "result": None,
    }  # fmt: skip
