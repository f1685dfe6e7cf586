"""Tests of actors/system/life.py, context.py and probe.py: what becomes of a message on every path."""

from __future__ import annotations

import asyncio

import pytest

from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from actors.system.probe import Probe
from router.event import Event
from tests.actors.system.sample_actors import Stock, made
from tests.waiting import eventually


async def test_an_emptied_shelf_is_announced() -> None:
    async with Probe(Stock) as stock:
        outcome = await stock.receive("orders.1.placed", {"sku": "tea", "qty": 1})

        assert outcome == "acked"
        assert stock.emitted == [("stock.tea.emptied", {"sku": "tea"})]
        assert await stock.ask("level", sku="tea") == -1


async def test_a_rejected_event_is_a_dead_letter_and_the_actor_lives() -> None:
    async with Probe(Stock) as stock:
        await stock.receive("orders.1.returned", {"sku": "tea", "qty": 5})

        outcome = await stock.receive("orders.1.placed", {"qty": 1})

        assert outcome == "rejected"
        assert [reason for _, reason in stock.rejected] == ["an order needs a sku and a qty"]
        assert await stock.ask("level", sku="tea") == 5
        assert stock.crashes == []


async def test_a_crash_forgets_what_the_actor_knew_and_keeps_the_mailbox() -> None:
    async with Probe(Stock) as stock:
        await stock.receive("orders.1.returned", {"sku": "tea", "qty": 5})

        with pytest.raises(KeyError):
            await stock.receive("orders.2.placed", {"explode": True})

        assert len(stock.retried) == 1
        await stock.receive("orders.3.returned", {"sku": "tea", "qty": 1})
        assert await stock.ask("level", sku="tea") == 1


async def test_the_last_attempt_ends_as_a_dead_letter() -> None:
    async with Probe(Stock) as stock:
        with pytest.raises(KeyError):
            await stock.receive("orders.2.placed", {"explode": True}, attempt=5)

        assert stock.rejected[0][1] == "attempts_spent: KeyError: 'sku'"
        assert stock.retried == []


async def test_an_event_whose_deliveries_were_always_cut_short_is_not_tried_for_ever() -> None:
    async with Probe(Stock) as stock:
        assert await stock.receive("orders.1.placed", {"sku": "tea", "qty": 1}, attempt=10) == "acked"

        outcome = await stock.receive("orders.1.placed", {"sku": "tea", "qty": 1}, attempt=11)  # raises no crash

        assert outcome == "rejected"
        assert "the process ended" in stock.rejected[0][1]


async def test_a_frozen_receive_is_ended_like_a_failed_one() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        ctx.emit("never.leaves.this", {})
        await asyncio.Event().wait()

    async with Probe(made(receive=receive, timeout=0.05)) as probe:
        with pytest.raises(TimeoutError):
            await probe.receive("orders.1.placed", {})

        assert probe.emitted == []
        assert len(probe.retried) == 1


async def test_a_command_is_refused_with_its_text_and_the_actor_lives() -> None:
    async with Probe(Stock) as stock:
        with pytest.raises(Reject, match="tea is not filled by hand"):
            await stock.ask("fill", sku="tea")
        with pytest.raises(Reject, match="no command"):
            await stock.ask("receive")
        with pytest.raises(Reject, match="must be a string"):
            await stock.ask("level", sku=1)

        assert stock.crashes == []


async def test_a_command_that_breaks_restarts_the_actor() -> None:
    async with Probe(Stock) as stock:
        await stock.receive("orders.1.returned", {"sku": "tea", "qty": 5})
        with pytest.raises(ZeroDivisionError):
            await stock.ask("burn")

        assert await stock.ask("level", sku="tea") == 0


async def test_a_command_overtakes_events_but_never_runs_beside_one() -> None:
    running = 0
    order: list[str] = []

    class Slow(Actor):
        name = "slow"
        subjects = ("orders.*.placed",)

        async def receive(self, event: Event, ctx: Context) -> None:
            nonlocal running
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            order.append(event.subject)
            running -= 1

        @command
        async def peek(self) -> int:
            order.append("peek")
            return running

    async with Probe(Slow) as slow, asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(slow.receive(f"orders.{number}.placed", {}))
        asked = group.create_task(slow.ask("peek"))

    assert asked.result() == 0
    assert order[0] == "peek" or order[1] == "peek"


async def test_start_tick_and_stop_may_emit() -> None:
    async def say(self: Actor, ctx: Context) -> None:
        ctx.emit("thing.1.said", {})

    async with Probe(made(start=say, tick=say, stop=say)) as probe:
        assert len(probe.emitted) == 1
        await probe.tick()
        assert len(probe.emitted) == 2

    assert len(probe.emitted) == 3
    assert len({event.id for event in probe.events}) == 3


async def test_stop_runs_after_a_crash_and_its_own_failure_hides_nothing() -> None:
    stopped: list[int] = []

    async def tick(self: Actor, ctx: Context) -> None:
        raise KeyError("first")

    async def stop(self: Actor, ctx: Context) -> None:
        stopped.append(1)
        raise RuntimeError("second")

    async with Probe(made(tick=tick, stop=stop)) as probe:
        with pytest.raises(KeyError, match="first"):
            await probe.tick()
        await eventually(lambda: probe.crashes)

        assert stopped == [1]
        assert [type(crash) for crash in probe.crashes] == [KeyError]
