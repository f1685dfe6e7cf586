"""What a context offers: emit, publish, sources, threads."""

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
from tests.actors.system.sample_actors import made
from tests.waiting import eventually


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
