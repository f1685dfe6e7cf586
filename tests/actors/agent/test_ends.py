"""Tests of actors/agent/ends.py with the ledger of runs on a real nats-server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.agent.ends import GONE, SETTLE_AFTER_SECONDS, RunEnds
from actors.agent.leases import Lease
from actors.agent.producers import EntryHeard, LeaseHeard, RunEntries
from actors.agent.record import RunRecord
from actors.agent.runs import Runs
from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.runs import RunLedger


class Silent:
    """Producers that hold no lease any more."""

    def __init__(self, broker: Broker) -> None:
        self.ledger: RunEntries = RunLedger(broker)

    async def reachable(self) -> bool:
        return True

    async def watch_leases(self, heard: LeaseHeard) -> None: ...

    async def watch_entries(self, heard: EntryHeard) -> None: ...

    async def lease(self, key: str) -> Lease | None:
        return None

    async def stop(self, domain: str, run: str, reason: str | None) -> dict[str, Any]:
        return {}


def begun(entity: str, incarnation: str = "one") -> RunRecord:
    record = RunRecord("agent", entity, 1, 1)
    record.begin(Event.new(f"agent.{entity}.workflow_start", {"incarnation": incarnation}))
    return record


async def ends_of(broker: Broker, entity: str) -> list[Event]:
    page = await broker.read(f"agent.{entity}.completion", 0)
    return [record.event for record in page.records if record.event]


async def test_two_actors_that_miss_one_producer_end_its_run_once(broker: Broker, entity: str) -> None:
    ledger = RunLedger(broker)
    await ledger.begin("agent", entity, "one", lease=10)
    for _ in range(2):  # the second is the same actor after it was killed in between
        known = Runs(10)
        known.keep(begun(entity))
        ends = RunEnds(Silent(broker), known, "agent")
        ends.leases.saw(f"agent.{entity}", Lease(10, "one"), 0)
        await ends.check(16)

    (end,) = await ends_of(broker, entity)
    assert (end.data["error"], end.data["incarnation"], end.data["synthesized"]) == (GONE, "one", True)
    entry = await ledger.read("agent", entity)
    assert entry and entry.ended and entry.ended.synthesized and entry.ended.stored


async def test_a_life_that_has_begun_and_was_not_received_yet_is_not_failed(broker: Broker, entity: str) -> None:
    ledger, known = RunLedger(broker), Runs(10)
    await ledger.begin("agent", entity, "one")
    await ledger.begin("agent", entity, "two")
    known.keep(begun(entity))
    ends = RunEnds(Silent(broker), known, "agent")
    ends.leases.saw(f"agent.{entity}", Lease(10, "one"), 0)

    await ends.check(16)

    assert await ends_of(broker, entity) == []


async def test_a_run_that_was_begun_before_the_actor_first_ran_is_failed_too(broker: Broker, entity: str) -> None:
    """Its consumer begins with what comes then; the entry of the run in the ledger is all that is known of it."""
    ledger = RunLedger(broker)
    entry = await ledger.begin("agent", entity, "one", lease=10)
    ends = RunEnds(Silent(broker), Runs(10), "agent")

    ends.heard_entry(f"agent.{entity}", entry, 0)
    await ends.check(16)
    ends.heard_entry(f"agent.{entity}", entry, 20)
    await ends.check(40)

    (end,) = await ends_of(broker, entity)
    assert (end.data["error"], end.data["incarnation"]) == (GONE, "one")


async def test_a_claim_whose_finisher_died_is_published_and_the_run_has_its_own_end(
    broker: Broker, entity: str
) -> None:
    ledger, known = RunLedger(broker), Runs(10)
    record = begun(entity)
    known.keep(record)
    own = Event.new(f"agent.{entity}.completion", {"success": True, "incarnation": "one"})
    await _claim(broker, own)
    ends = RunEnds(Silent(broker), known, "agent")
    ends.leases.saw(record.key, Lease(10, "one"), 0)
    ends.heard_entry(record.key, await ledger.read("agent", entity), 0)

    await ends.check(SETTLE_AFTER_SECONDS)
    await ends.check(16)

    assert [event.id for event in await ends_of(broker, entity)] == [own.id]


async def _claim(broker: Broker, event: Event) -> None:
    """Claims an end as a finisher does that dies before it publishes."""

    class Dead(Exception):
        pass

    async def die(*_: object, **__: object) -> None:
        raise Dead

    put: Callable[..., Any] = broker.put
    broker.put = die  # type: ignore[assignment,method-assign]
    try:
        await RunLedger(broker).end(event, encode(event))
    except Dead:
        pass
    finally:
        broker.put = put  # type: ignore[method-assign]


async def test_a_life_is_noted_once_and_its_lease_expected(broker: Broker, entity: str) -> None:
    ledger, known, record = RunLedger(broker), Runs(10), begun(entity)
    ends = RunEnds(Silent(broker), known, "agent")
    start = Event.new(f"agent.{entity}.workflow_start", {"incarnation": "one"})

    await ends.began(record, start, 0)
    noted = await ledger.read("agent", entity)
    await ledger.begin("agent", entity, "two", lease=10)
    await ends.began(record, start, 0)  # it is received again
    assert noted and noted.incarnation == "one"
    entry = await ledger.read("agent", entity)
    assert entry and entry.incarnation == "two"

    await ends.began(begun(entity, "two"), start, 0)
    assert ends.leases.of(record.key, "two") == Lease(10, "two")
