"""Tests of router/store_health.py against a real nats-server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router import store_health, topology
from router.broker import Broker
from router.errors import StoreFailed, Timeout
from router.nats.settings import BrokerSettings
from router.nats.stream import stream_names
from router.store_health import TURNS, StoreHealth
from router.store_trouble import Finding
from router.topology import DeclaredStream, TopologySettings
from tests.router.resharding import broker_of, reshard
from tests.waiting import eventually, in_time


async def test_a_healthy_store_is_writable_once_it_was_examined(broker: Broker) -> None:
    health = StoreHealth(broker)
    assert not health.writable and health.code == "ok"

    await health.look()

    assert health.writable and health.describe() == {"code": "ok", "streams": {}}
    health.require("EVENTS")
    assert await health.guard("EVENTS", asyncio.sleep(0, "stored")) == "stored"


async def test_a_write_that_waits_fails_as_soon_as_its_stream_is_known_to_be_missing(own_nats: str) -> None:
    async with Broker(BrokerSettings(own_nats), "operator"):
        pass
    async with Broker(BrokerSettings(own_nats), "test", TopologySettings(apply_streams=False)) as broker:
        health = StoreHealth(broker)
        await health.look()
        await broker.connection.api("STREAM.DELETE.EVENTS")
        waiting = asyncio.ensure_future(health.guard("EVENTS", asyncio.Event().wait()))
        other = asyncio.ensure_future(health.guard("HOOKS", asyncio.Event().wait()))
        await asyncio.sleep(0)

        await health.look()

        with pytest.raises(StoreFailed) as failed:
            await in_time(waiting)
        assert failed.value.code == "stream_missing" and not other.done()
        with pytest.raises(StoreFailed):
            health.require("EVENTS")
        other.cancel()


async def test_a_lost_connection_is_a_failure_only_once_it_lasts(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Broker(BrokerSettings(own_nats), "test") as broker:
        health = StoreHealth(broker)
        await health.look()
        await broker.close()

        await health.look()
        assert health.waits and health.code == "ok"
        monkeypatch.setattr(store_health, "GRACE_SECONDS", 0.0)
        await health.look()

        assert health.code == "unreachable"
        assert health.trouble("EVENTS") is not None and not health.waits


async def test_a_write_without_an_answer_makes_it_look_at_once(broker: Broker) -> None:
    health = StoreHealth(broker)
    running = asyncio.ensure_future(health.run())
    await eventually(lambda: health.looked)
    health.looked = False

    async def unanswered() -> None:
        raise Timeout("no answer")

    with pytest.raises(Timeout):
        await health.write("FRAMES", unanswered)

    await eventually(lambda: health.looked)
    running.cancel()


async def test_while_all_is_well_the_streams_take_turns_and_a_missing_one_is_found_all_the_same(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_health, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(store_health, "MIN_PAUSE_SECONDS", 0.0)
    async with Broker(BrokerSettings(own_nats), "test") as broker:
        health = StoreHealth(broker)
        looks: list[set[str]] = []
        examine = health._probe.examine

        async def noted(stream: DeclaredStream, active: bool) -> Finding | None:
            looks[-1].add(stream.name)
            return await examine(stream, active)

        look = health.look

        async def looked(*given: Any, **named: Any) -> None:
            looks.append(set())
            await look(*given, **named)

        monkeypatch.setattr(health._probe, "examine", noted)
        monkeypatch.setattr(health, "look", looked)
        running = asyncio.ensure_future(health.run())
        await eventually(lambda: len(looks) > 2 * TURNS)
        every, *turns = looks[: TURNS + 1]
        assert every == {stream.name for stream in topology.streams(broker.topology)}
        assert all(topology.EVENTS in turn and len(turn) < len(every) / 2 for turn in turns)
        assert set().union(*turns) == every

        await broker.connection.api("STREAM.DELETE.KV_RULES")

        await eventually(lambda: health.recreated.get("KV_RULES"))
        running.cancel()


async def test_behind_a_reshard_the_shards_are_examined_and_not_the_sealed_stream(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        health = StoreHealth(broker)
        await reshard(broker, 3)
        await eventually(lambda: broker.layout.current.number == 1)

        await health.look()
        assert health.writable and health.trouble(topology.EVENTS) is None

        # One shard that takes no writes: EVENTS as a whole takes none, the other shards do.
        await broker.stream("EVENTS_1_1").remove()
        broker.topology = TopologySettings(apply_streams=False)
        await health.look()

        assert set(health.troubles) == {"EVENTS_1_1"}
        assert health.trouble(topology.EVENTS) is not None
        with pytest.raises(StoreFailed):
            health.require("EVENTS_1_1")
        health.require("EVENTS_1_0")


async def test_a_former_stream_that_was_deleted_is_not_made_again_by_who_has_not_heard_of_it(own_nats: str) -> None:
    async with broker_of(own_nats) as broker, broker_of(own_nats) as other:
        health = StoreHealth(other)
        other.layouts._noticed = lambda *_: None  # type: ignore[method-assign]
        await reshard(broker, 2)
        await broker.stream("EVENTS").remove()

        await health.look()

        assert "EVENTS" not in await stream_names(broker.connection)
        assert health.writable and not health.recreated
