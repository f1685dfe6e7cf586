"""Tests of router/sdk/fence.py against a real nats-server: a life that another one has superseded says nothing more."""

from __future__ import annotations

import pytest

from router.broker import Broker
from router.codec import encode
from router.errors import RunSuperseded
from router.event import Event
from router.nats.stream import Ack
from router.runs import RunLedger
from router.sdk import Run, RunSettings
from router.sdk.encoder import RunEncoder
from router.sdk.fence import LifeFence
from router.sdk.queued import Kind
from router.topology import TopologySettings
from tests.edge.conftest import EdgeFactory
from tests.router.resharding import all_stored, broker_of, reshard
from tests.router.sdk.runs import events_of
from tests.waiting import eventually


@pytest.mark.parametrize("old", ["nats", "http"])
@pytest.mark.parametrize("new", ["nats", "http", "curl"])
async def test_of_two_programs_of_a_run_only_the_later_one_is_seen_from_its_start_on(
    edge_factory: EdgeFactory, broker: Broker, nats_server: str, entity: str, old: str, new: str
) -> None:
    settings = RunSettings(ttl=300, progress_interval=0.0)  # no heartbeat tells
    async with edge_factory() as edge, edge_factory() as other:
        urls = {"nats": nats_server, "http": edge.url}
        with pytest.raises(RunSuperseded):
            async with Run(entity, url=urls[old], settings=settings) as first:
                await first.progress(0.8)
                await eventually(lambda: first.waiting == 0)
                if new == "curl":
                    await other.publish({"subject": f"agent.{entity}.workflow_start", "data": {}})
                    await other.publish({"subject": f"agent.{entity}.progress", "data": {"progress": 0.1}})
                else:
                    second = Run(entity, url=other.url if new == "http" else nats_server, settings=settings)
                    await second.__aenter__()
                    await second.progress(0.1)
                    await eventually(lambda: second.waiting == 0)
                await first.progress(0.9)
                await eventually(lambda: first.refused > 0)
                await first.thinking("still here")
                await eventually(lambda: first.waiting == 0)
                if new != "curl":
                    await second.progress(0.2)
                    await second.__aexit__(None, None, None)

    events = await events_of(broker, entity)
    said = [event.data["progress"] for event in events if event.type == "progress"]
    assert said == [0.8, 0.1] + [0.2] * (new != "curl")
    assert first.refused >= 2 and "thinking" not in [event.type for event in events]


async def test_a_life_whose_start_is_not_the_newest_though_it_lives_goes_on(broker: Broker, entity: str) -> None:
    """As where a program of NATS publishes a start of its own, which the ledger does not know, or ours is kept no more."""
    async with Run(entity, broker, settings=RunSettings(ttl=300)) as run:
        await eventually(lambda: run.waiting == 0)
        await broker.publish(Event.new(f"agent.{entity}.workflow_start", {}))
        await run.thinking("on")

    assert [event.type for event in await events_of(broker, entity)][2:] == ["thinking", "completion"]


async def test_progress_is_the_first_of_its_flight_where_the_start_is_known(broker: Broker, entity: str) -> None:
    encoder = RunEncoder("agent", entity, "sdk")
    types = ["noted", "noted", "progress", "noted", "progress"]
    items = [encoder.encode(n, type, {"progress": 0.5})[1] for n, type in enumerate(types, 1)]
    items.append(encoder.encode(9, "completion", {"success": True}, kind=Kind.END)[1])
    fence = LifeFence(broker, RunLedger(broker), encoder.life)
    assert (len(fence.flight(items)), fence.headers) == (5, {})

    fence.begun(Ack(7, False, "EVENTS"))

    flights = []
    left = items[:5]
    while left:
        flights.append(len(fence.flight(left)))
        left = left[flights[-1] :]
    assert flights == [2, 2, 1] and len(fence.headers) == 2


async def test_a_life_that_was_superseded_before_a_reshard_says_nothing_more_behind_it(own_nats: str) -> None:
    """No start is stored in the new streams, so JetStream alone would take it."""
    settings = RunSettings(ttl=300, progress_interval=0.0)
    async with broker_of(own_nats, TopologySettings()) as broker, broker_of(own_nats, TopologySettings()) as other:
        with pytest.raises(RunSuperseded):
            async with Run("b", broker, settings=settings) as alone, Run("a", broker, settings=settings) as old:
                await eventually(lambda: old.waiting == 0 and alone.waiting == 0)
                begun = Event.new("agent.a.workflow_start", {"incarnation": "another"})
                await RunLedger(other).start(begun, encode(begun), "another")
                await reshard(other, 2)
                await old.thinking("late")
                await alone.thinking("on")
                await eventually(lambda: old.waiting == 0 and alone.waiting == 0)

        behind = [message.subject for each in list((await all_stored(broker)).values())[1:] for message in each]
        assert any(subject.endswith(".agent.b.thinking") for subject in behind)
        assert not any(".agent.a." in subject for subject in behind)
