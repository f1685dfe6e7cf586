"""Tests of actors/system/life.py, context.py and probe.py: what becomes of a message on every path."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from actors.system.actor import Actor, Reject, command
from actors.system.context import Context, NotNow
from actors.system.probe import Probe
from router.errors import BadEvent
from router.event import Event
from tests.actors.system.cast import SOON, Stock, made
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


async def test_what_was_emitted_before_a_reject_or_crash_never_leaves() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        ctx.emit("thing.1.happened", {})
        raise Reject("no") if event.data["reject"] else RuntimeError("boom")

    async with Probe(made(receive=receive)) as probe:
        await probe.receive("orders.1.placed", {"reject": True})
        with pytest.raises(RuntimeError):
            await probe.receive("orders.1.placed", {"reject": False})

        assert probe.emitted == []


async def test_a_redelivered_event_leads_to_the_same_ids() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        ctx.emit("thing.1.happened", {})
        ctx.emit("thing.2.happened", {})

    cause = Event.new("orders.1.placed", {}, trace="00-abc", test=True)
    async with Probe(made(receive=receive)) as probe:
        await probe.receive(cause)
        await probe.receive(cause, attempt=2)

        first, second = probe.events[:2]
        assert [first.id, second.id] == [f"{cause.id}.made.1", f"{cause.id}.made.2"]
        assert [event.id for event in probe.events[2:]] == [first.id, second.id]
        assert (first.cause, first.trace, first.test, first.source) == (cause.id, "00-abc", True, "made")


async def test_ids_stay_short_along_a_long_chain_of_causes() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        ctx.emit("thing.1.happened", {})

    async with Probe(made(receive=receive)) as probe:
        event = Event.new("thing.1.happened", {})
        for _ in range(60):
            await probe.receive(event)
            event = probe.events[-1]

        assert len({each.id for each in probe.events}) == 60
        assert max(len(each.id) for each in probe.events) < 200


async def test_changing_data_after_emit_does_not_change_the_event() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        data = {"n": 1}
        ctx.emit("thing.1.happened", data)
        data["n"] = 2

    async with Probe(made(receive=receive)) as probe:
        await probe.receive("orders.1.placed", {})

        assert probe.emitted == [("thing.1.happened", {"n": 1})]


async def test_data_that_cannot_be_packed_shows_where_it_was_emitted() -> None:
    async def receive(self: Actor, event: Event, ctx: Context) -> None:
        ctx.emit("thing.1.happened", {"n": object()})

    async with Probe(made(receive=receive)) as probe:
        with pytest.raises(BadEvent):
            await probe.receive("orders.1.placed", {})


async def test_a_command_is_refused_with_its_text_and_the_actor_lives() -> None:
    async with Probe(Stock) as stock:
        with pytest.raises(Reject, match="tea is not filled by hand"):
            await stock.ask("fill", sku="tea")
        with pytest.raises(Reject, match="no command"):
            await stock.ask("receive")
        with pytest.raises(Reject, match="Expected `str`"):
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


async def test_emit_outside_of_a_message_is_an_error_and_publish_is_not() -> None:
    faults: list[Exception] = []

    async def start(self: Actor, ctx: Context) -> None:
        async def run(beat: Any) -> None:
            try:
                ctx.emit("thing.1.happened", {})
            except NotNow as fault:
                faults.append(fault)
            await ctx.publish("thing.1.seen", {"n": 1})
            await asyncio.Event().wait()

        ctx.source("eye", run, None)

    async with Probe(made(start=start)) as probe:
        await eventually(lambda: probe.emitted == [("thing.1.seen", {"n": 1})])

    assert len(faults) == 1


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


async def test_a_failing_start_is_raised_to_the_test() -> None:
    async def start(self: Actor, ctx: Context) -> None:
        raise OSError("no camera")

    actor = made(start=start)
    actor.restart = type(SOON)(tries=0)  # type: ignore[attr-defined]

    with pytest.raises(OSError, match="no camera"):
        async with Probe(actor):
            raise AssertionError("it started")


async def test_a_source_cannot_be_started_while_the_actor_stops() -> None:
    faults: list[Exception] = []

    async def stop(self: Actor, ctx: Context) -> None:
        async def run(beat: Any) -> None:
            await asyncio.Event().wait()

        try:
            ctx.source("late", run, None)
        except NotNow as fault:
            faults.append(fault)

    async with Probe(made(stop=stop)):
        pass

    assert len(faults) == 1


async def test_sources_end_before_stop_runs() -> None:
    order: list[str] = []

    async def start(self: Actor, ctx: Context) -> None:
        async def run(beat: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append("source")

        ctx.source("eye", run, None)

    async def tick(self: Actor, ctx: Context) -> None:
        pass

    async def stop(self: Actor, ctx: Context) -> None:
        order.append("stop")

    async with Probe(made(start=start, tick=tick, stop=stop)) as probe:
        await probe.tick()

    assert order == ["source", "stop"]


async def test_work_is_offloaded_to_a_thread_of_the_actor() -> None:
    class Thinker(Actor):
        name = "thinker"

        async def start(self, ctx: Context) -> None:
            self.ctx = ctx

        @command
        async def think(self) -> str:
            return await self.ctx.offload(lambda: threading.current_thread().name)

    async with Probe(Thinker) as thinker:
        assert (await thinker.ask("think")).startswith("actor-thinker")


async def test_latest_finds_what_was_stored_and_what_was_said_since() -> None:
    class Memory(Actor):
        name = "memory"

        async def start(self, ctx: Context) -> None:
            self.known = {str(event.subject): event.data["n"] for event in await ctx.latest("thing.*.seen")}

        async def tick(self, ctx: Context) -> None:
            ctx.emit("thing.1.seen", {"n": 3})

        @command
        async def recall(self) -> dict[str, int]:
            return self.known

        @command
        async def burn(self) -> None:
            raise RuntimeError

    async with Probe(Memory, stored=[("thing.1.seen", {"n": 1}), ("thing.2.seen", {"n": 2}), ("x.y.z", {})]) as memory:
        assert await memory.ask("recall") == {"thing.1.seen": 1, "thing.2.seen": 2}

        await memory.tick()
        with pytest.raises(RuntimeError):
            await memory.ask("burn")

        assert await memory.ask("recall") == {"thing.1.seen": 3, "thing.2.seen": 2}


async def test_frames_and_viewers_are_seen_by_the_probe() -> None:
    async def start(self: Actor, ctx: Context) -> None:
        viewers = ctx.viewers("camera", ctx.instance)
        assert ctx.viewers("camera", ctx.instance) is viewers

        async def run(beat: Any) -> None:
            await viewers.wait_for_some()
            ctx.frame("camera", ctx.instance, {"seq": 1}, b"jpeg")
            ctx.frame("octane", ctx.instance, {"seq": 1}, b"jpeg", track="depth")
            await viewers.wait_for_none()
            await ctx.publish("camera.door.state", {"status": "idle"})
            await asyncio.Event().wait()

        ctx.source("capture", run, None)

    async with Probe(made(start=start), instance="door") as probe:
        assert probe.frames == []

        probe.set_viewers("camera", "door", 2)
        await eventually(lambda: len(probe.frames) == 2)
        probe.set_viewers("camera", "door", 0)
        await eventually(lambda: probe.emitted)

        assert probe.frames == [
            ("frame.camera.door", {"seq": 1}, b"jpeg"),
            ("frame.octane.door.depth", {"seq": 1}, b"jpeg"),
        ]
