"""The Probe shows what an actor does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.system.actor import Actor, command
from actors.system.context import Context
from actors.system.probe import Probe
from tests.actors.system.sample_actors import SOON, made
from tests.waiting import eventually


async def test_a_failing_start_is_raised_to_the_test() -> None:
    async def start(self: Actor, ctx: Context) -> None:
        raise OSError("no camera")

    actor = made(start=start)
    actor.restart = type(SOON)(tries=0)  # type: ignore[attr-defined]

    with pytest.raises(OSError, match="no camera"):
        async with Probe(actor):
            raise AssertionError("it started")


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
