"""The entry of a state event says since when it holds; that an actor is gone is stored as one event, and never of one that lives."""

from __future__ import annotations

import asyncio
import re

from router.broker import Broker
from router.event import Event
from router.states import StateStore, entry_of, state_key
from tests.presences import PlayedActor


def event(status: str, at: int, **data: object) -> Event:
    return Event.new("camera.door.state", {"status": status, **data}, time_ns=at * 10**9)


def test_a_state_holds_since_it_changed() -> None:
    first = entry_of(event("idle", 1), 1, None)
    repeated = entry_of(event("idle", 2, fps=3), 1, first)
    changed = entry_of(event("failed", 3, reason="gone"), 1, repeated)
    own = entry_of(event("absent", 4, since="2026-01-01T00:00:00Z"), 1, changed)

    assert first.since == repeated.since == first.updated != repeated.updated
    assert changed.since == changed.updated
    assert own.since == "2026-01-01T00:00:00Z"


def test_an_id_is_one_token_of_the_key() -> None:
    assert state_key("camera", "front.door") == "camera.front=2Edoor"


async def test_who_say_at_once_that_an_actor_is_gone_store_one_event(broker: Broker, entity: str) -> None:
    await PlayedActor(broker, entity).say("streaming")
    store = StateStore(broker)

    await asyncio.gather(*(store.declare_gone("camera", entity, "died", 10**18 + n) for n in range(8)))

    told = [record.event for record in (await broker.read(f"camera.{entity}.state", 0)).records if record.event]
    assert [each.data["status"] for each in told] == ["streaming", "gone"]
    stored = (await store.read("camera", entity)).entry
    assert stored is not None and stored.gone is not None and stored.gone.reason == "died"


async def test_the_state_of_one_that_lives_has_no_end_and_of_one_that_is_gone_a_day(
    broker: Broker, entity: str
) -> None:
    await PlayedActor(broker, entity).say("idle")
    store = StateStore(broker)
    stream = broker.stream(store.bucket.stream)

    async def ttl() -> bytes | None:
        kept = await stream.get_last(f"$KV.STATES.{state_key('camera', entity)}")
        assert kept is not None
        found = re.search(rb"Nats-TTL: (\S+)", kept.headers)
        return found and found[1]

    assert (await stream.info())["config"].get("max_age", 0) == 0
    assert await ttl() is None
    assert await store.declare_gone("camera", entity, "died", 10**18)
    assert await ttl() == b"86400s"


async def test_an_actor_that_lives_is_not_said_to_be_gone(broker: Broker, entity: str) -> None:
    actor = PlayedActor(broker, entity)
    await actor.begin()
    await actor.say("streaming")

    assert not await StateStore(broker).declare_gone("camera", entity, "died", 10**18)
    assert not await StateStore(broker).declare_gone("camera", f"{entity}-unknown", "died", 10**18)
