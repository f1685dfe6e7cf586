"""What `callboard doctor` finds of edges and actors after a reshard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ops.cli.checks import reshard as checks
from ops.cli.checks.findings import FAIL, WARN, CheckResult
from ops.cli.checks.reshard import examine_reshard
from ops.process.micro import answering
from router.broker import Broker
from router.cluster.ownership import ALIVE, member_key
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.service import Service
from router.topology import LEASES
from tests.actors.system.running import running_actor, stock
from tests.router.resharding import broker_of, reshard
from tests.waiting import eventually

NAME = "stock-reshard"


@asynccontextmanager
async def deaf(broker: Broker, **metadata: str) -> AsyncIterator[None]:
    """Answers as an actor does, and reads no stream."""
    known = {"instance": "main", "subjects": "reshard.*.placed", **metadata}
    about = "an actor of a former version"
    service = Service(broker.connection, NAME, "0.0.1", description=about, metadata=known, endpoints=[])
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    try:
        yield
    finally:
        running.cancel()


async def examined(broker: Broker) -> list[CheckResult]:
    return await examine_reshard(broker, await answering(broker.connection, {NAME}, 60.0))


async def test_before_a_reshard_nothing_is_asked(own_nats: str) -> None:
    async with broker_of(own_nats) as broker, deaf(broker):
        assert await examined(broker) == []


async def test_an_edge_that_lives_and_knows_no_shards_is_named_and_others_are_not(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "REFRESH_SECONDS", 0.5)
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)
        bucket = Bucket(broker.connection, LEASES)
        await bucket.put(member_key("current"), ALIVE, 3600)
        await bucket.put(member_key("dead"), b"1", 3600)

        async def live() -> None:
            while True:
                await bucket.put(member_key("former"), b"1", 3600)
                await asyncio.sleep(0.05)

        living = asyncio.ensure_future(live())
        try:
            (found,) = await eventually(lambda: examine_reshard(broker, {}))
        finally:
            living.cancel()

    assert (found.check, found.verdict) == ("edges", FAIL)
    assert "former" in found.found and "dead" not in found.found and "current" not in found.found


async def test_an_actor_that_reads_none_of_the_new_streams_is_named(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "BEGIN_SECONDS", 0.05)
    async with broker_of(own_nats) as broker, deaf(broker):
        await reshard(broker, 2)

        (found,) = await examined(broker)

    assert (found.check, found.verdict) == (f"actor {NAME}", WARN)
    assert "does not read the streams" in found.found


async def test_an_actor_that_receives_no_events_is_not_named(own_nats: str) -> None:
    async with broker_of(own_nats) as broker, deaf(broker, subjects=""):
        await reshard(broker, 2)

        assert await examined(broker) == []


async def test_an_actor_that_reads_the_new_streams_is_not_named_until_it_pulls_no_more(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)
        async with running_actor(stock("reshard"), broker):
            assert await examined(broker) == []

        # A former version that is started now finds the consumers of this one, and does not use them.
        monkeypatch.setattr(checks, "BEGIN_SECONDS", 0.05)
        async with deaf(broker):
            (found,) = await eventually(lambda: examined(broker))
    assert found.check == f"actor {NAME}"


async def test_an_actor_that_has_events_of_the_former_streams_left_is_not_named(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "BEGIN_SECONDS", 0.05)
    async with broker_of(own_nats) as broker:
        async with running_actor(stock("reshard"), broker):
            pass
        await broker.publish(Event.new("reshard.a.placed", {"sku": "tea", "qty": 1}))
        async with deaf(broker):
            await reshard(broker, 2)

            assert await examined(broker) == []
