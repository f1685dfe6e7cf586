"""Threads have one owner: of a thread whose owner is gone, the run is failed once and the thread is free."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from router.broker import Broker
from router.clock import wall
from router.cluster.leases import lease_key
from router.codec import encode
from router.errors import RunBusy
from router.event import Event
from router.nats.bucket import Bucket
from router.run_entry import GONE, RunEntry
from router.runs import RunLedger
from router.sdk.agents.threads import BUSY_SECONDS, ThreadOwners
from router.topology import LEASES, RUNS
from tests.router.sdk.runs import events_of

HOUR_NS = 3600 * 10**9


async def open_life(broker: Broker, entity: str, age_ns: int = HOUR_NS, lease: float | None = 10.0) -> None:
    """A life that another process has begun, so long ago."""
    entry = RunEntry("former", wall.now_ns() - age_ns, lease=lease)
    await Bucket(broker.connection, RUNS).put(f"thread.{entity}", msgspec.json.encode(entry))


async def test_a_run_whose_lease_is_held_keeps_its_thread(broker: Broker, entity: str) -> None:
    await open_life(broker, entity)
    await Bucket(broker.connection, LEASES).put(lease_key("run", "thread", entity), b'{"ttl":30}', 30)

    with pytest.raises(RunBusy):
        await ThreadOwners(broker).take("thread", entity, "mine", 10.0, "test")
    assert await events_of(broker, entity, "thread") == []


async def test_a_run_that_has_just_begun_or_whose_lease_has_just_run_out_keeps_its_thread(
    broker: Broker, entity: str
) -> None:
    await open_life(broker, f"{entity}-1", age_ns=0)
    await open_life(broker, f"{entity}-2")
    leases = Bucket(broker.connection, LEASES)
    await leases.put(lease_key("run", "thread", f"{entity}-2"), b'{"ttl":30}', 30)
    await leases.delete(lease_key("run", "thread", f"{entity}-2"), 30)

    for n in (1, 2):
        with pytest.raises(RunBusy):
            await ThreadOwners(broker).take("thread", f"{entity}-{n}", "mine", 10.0, "test")


async def test_a_run_whose_process_is_gone_is_failed_once_and_its_thread_taken(broker: Broker, entity: str) -> None:
    await open_life(broker, entity)

    await ThreadOwners(broker).take("thread", entity, "mine", 10.0, "test")

    (end,) = await events_of(broker, entity, "thread")
    assert end.data == {"success": False, "error": GONE, "synthesized": True, "incarnation": "former"}
    entry = await RunLedger(broker).read("thread", entity)
    assert entry is not None and (entry.incarnation, entry.lease, entry.ended) == ("mine", 10.0, None)


async def test_a_run_that_was_asked_to_stop_is_waited_for(broker: Broker, entity: str) -> None:
    await open_life(broker, entity, age_ns=0)
    ledger, owners = RunLedger(broker), ThreadOwners(broker)
    await owners.stopping("thread", entity, "former", "enough")
    taking = asyncio.ensure_future(owners.take("thread", entity, "mine", 10.0, "test"))
    await asyncio.sleep(2 * BUSY_SECONDS)
    assert not taking.done()

    end = Event.new(f"thread.{entity}.completion", {"success": False, "incarnation": "former"})
    await ledger.end(end, encode(end))
    await taking

    entry = await ledger.read("thread", entity)
    assert entry is not None and (entry.incarnation, entry.stop) == ("mine", None)
    await owners.stopping("thread", entity, "former", "too late")
    assert await ledger.read("thread", entity) == entry


async def test_a_life_without_a_lease_is_superseded_as_by_any_start(broker: Broker, entity: str) -> None:
    await open_life(broker, entity, age_ns=0, lease=None)

    await ThreadOwners(broker).take("thread", entity, "mine", 10.0, "test")

    entry = await RunLedger(broker).read("thread", entity)
    assert entry is not None and entry.incarnation == "mine"
