"""Tests of ops/bench/agent.py: runs are begun, and waited for."""

from __future__ import annotations

from ops.bench import agent
from router.broker import Broker
from router.event import Event
from tests.waiting import unhurried


async def test_runs_are_begun_with_a_lease_and_waited_for_until_their_states_are_stored(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as broker:
        for n in range(3):
            await broker.publish(Event.new(f"agent.warm-{n}.state", {"status": "running"}))

        await agent.begin(broker, "warm", 3)

        events = [record.event for record in (await broker.read("agent.*.*", 3)).records]
        assert sorted(event.type for event in events if event) == ["progress"] * 3 + ["workflow_start"] * 3
        assert len((await broker.stream("KV_LEASES").subjects("$KV.LEASES.run.agent.>")).subjects) == 3
