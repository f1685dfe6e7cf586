"""What an actor last said of itself is kept with its life; it says that it ended, and again what it is where it was taken for gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.system import state
from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.state import Incarnations
from router.broker import Broker
from router.states import StateEntry, StateStore
from tests.actors.system.running import events_under, running_actor
from tests.actors.system.sample_actors import made
from tests.waiting import eventually


def watched(lives: list[int], **fields: Any) -> Any:
    """An actor that says what it is when it starts."""

    async def start(self: Actor, ctx: Context) -> None:
        lives.append(ctx.life)
        ctx.emit(f"camera.{ctx.instance}.state", {"status": "idle", "reason": None, "fps": 30.0})

    return made(name="camera", watched=True, start=start, subjects=(), **fields)


async def entry(broker: Broker, entity: str) -> StateEntry | None:
    return (await StateStore(broker).read("camera", entity)).entry


async def is_told(broker: Broker, entity: str) -> bool:
    found = await entry(broker, entity)
    return found is not None and found.gone is None


async def test_a_state_is_kept_with_the_life_and_its_end_with_the_reason(broker: Broker, entity: str) -> None:
    lives: list[int] = []
    async with running_actor(watched(lives), broker, instance=entity):
        await eventually(lambda: is_told(broker, entity))
        kept = await entry(broker, entity)
    ended = await entry(broker, entity)

    assert kept is not None and (kept.status, kept.life, kept.data["fps"]) == ("idle", lives[0], 30.0)
    assert ended is not None and ended.gone is not None and ended.gone.reason == "the actor was stopped"
    told = [event.data["status"] for event in await events_under(broker, f"camera.{entity}.state")]
    assert told == ["idle", "gone"]


async def test_the_life_of_a_later_process_is_larger_also_where_its_clock_is_behind(
    broker: Broker, entity: str
) -> None:
    lives: list[int] = []
    ahead = 10**13
    await StateStore(broker).write(
        "camera", entity, StateEntry(life=ahead, status="idle", since="", updated="before"), 0
    )

    async with running_actor(watched(lives), broker, instance=entity):
        await eventually(lambda: lives)

    assert lives[0] > ahead


async def test_an_actor_that_was_taken_for_gone_says_again_what_it_is(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "COMPARE_SECONDS", 0.1)
    async with running_actor(watched([]), broker, instance=entity):
        await eventually(lambda: is_told(broker, entity))
        # No lease is held here, as after a suspension of the process.
        assert await StateStore(broker).declare_gone("camera", entity, "died", 10**18)

        await eventually(lambda: is_told(broker, entity))

        async def again() -> bool:
            events = await events_under(broker, f"camera.{entity}.state")
            return [event.data["status"] for event in events] == ["idle", "gone", "idle"]

        await eventually(again)


async def test_a_process_leaves_the_state_to_the_one_that_took_over(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "COMPARE_SECONDS", 0.1)
    lives: list[int] = []
    async with running_actor(watched(lives), broker, instance=entity):
        await eventually(lambda: is_told(broker, entity))
        store = StateStore(broker)
        stored = await store.read("camera", entity)
        newer = StateEntry(life=lives[0] + 1, status="streaming", since="", updated="now")
        await store.write("camera", entity, newer, stored.revision)
        await asyncio.sleep(0.5)

    assert await entry(broker, entity) == newer


async def test_what_an_actor_keeps_is_there_after_a_restart(broker: Broker, entity: str) -> None:
    found: list[Any] = []

    async def start(self: Actor, ctx: Context) -> None:
        found.append(await ctx.kept("rate"))
        await ctx.keep("rate", {"fps": 12.5, "controls": {"gain": 2}})

    make = made(name="camera", watched=True, start=start, subjects=())
    for _ in range(2):
        async with running_actor(make, broker, instance=entity):
            pass

    assert found == [None, {"fps": 12.5, "controls": {"gain": 2}}]


def test_lives_grow_within_one_millisecond() -> None:
    lives = Incarnations()
    begun = [lives.next() for _ in range(100)]

    assert begun == sorted(set(begun))
