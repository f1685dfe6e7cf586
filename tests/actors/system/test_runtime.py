"""The runtime on NATS: pictures, viewers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.system.actor import Actor
from actors.system.context import Context, SourceEnded
from router.broker import Broker
from router.cluster.leases import Leases, view_key
from router.event import Event
from router.frame import pack, part_subject, unpack
from tests.actors.system.running import events_under, metric, running_actor
from tests.actors.system.sample_actors import made
from tests.waiting import eventually


async def test_a_camera_shows_its_newest_picture_only_while_somebody_watches(broker: Broker, entity: str) -> None:
    async def start(self: Actor, ctx: Context) -> None:
        viewers = ctx.viewers("camera", entity)

        async def run(beat: Callable[[], None]) -> None:
            await viewers.wait_for_some()
            for seq in range(100):
                ctx.frame("camera", entity, {"seq": seq}, b"jpeg")
            await viewers.wait_for_none()
            await ctx.publish(f"camera.{entity}.state", {"status": "idle"})

        ctx.source("capture", run, silence=None)

    passed_over = metric("actors_frames_total", actor=f"stock-{entity}", outcome="passed_over")
    async with running_actor(made(name=f"stock-{entity}", start=start), broker):
        holding = asyncio.ensure_future(Leases(broker.connection).hold(view_key("camera", entity, "s1"), 5))
        wanted = pack({"seq": 99}, b"jpeg")
        await eventually(lambda: shown(broker, entity, wanted))
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await eventually(lambda: events_under(broker, f"camera.{entity}.state"))

    assert metric("actors_frames_total", actor=f"stock-{entity}", outcome="passed_over") == passed_over + 99


async def test_an_event_with_a_ttl_is_forgotten_and_its_followers_stay(broker: Broker, entity: str) -> None:
    async def start(self: Actor, ctx: Context) -> None:
        async def run(beat: Callable[[], None]) -> None:
            await ctx.publish(f"camera.{entity}.statistics", {"fps": 1}, ttl=1.0)
            await ctx.publish(f"camera.{entity}.statistics", {"fps": 2})
            raise SourceEnded

        ctx.source("figures", run, silence=None)

    async with running_actor(made(name=f"stock-{entity}", start=start), broker):
        await eventually(lambda: events_under(broker, f"camera.{entity}.statistics"))

        await eventually(lambda: figures_are(broker, entity, [{"fps": 2}]))


async def test_the_newest_event_of_one_subject_is_read_alone(broker: Broker, entity: str) -> None:
    found: list[Event | None] = []

    async def start(self: Actor, ctx: Context) -> None:
        found.append(await ctx.last(f"camera.{entity}.state"))
        await ctx.publish(f"camera.{entity}.state", {"status": "idle"})
        await ctx.publish(f"camera.{entity}.state", {"status": "live"})
        found.append(await ctx.last(f"camera.{entity}.state"))

    async with running_actor(made(name=f"stock-{entity}", start=start), broker):
        pass

    nothing, newest = found
    assert nothing is None and newest is not None and newest.data == {"status": "live"}


async def figures_are(broker: Broker, entity: str, wanted: list[dict[str, int]]) -> bool:
    page = await broker.read(f"camera.{entity}.statistics", 0)
    return [record.event.data for record in page.records if record.event] == wanted


async def shown(broker: Broker, entity: str, frame: bytes) -> bool:
    return await broker.last_frame(f"frame.camera.{entity}") == frame


async def test_a_picture_larger_than_a_message_goes_in_parts(broker: Broker, entity: str) -> None:
    body = bytes(range(256)) * ((broker.connection.max_payload + 1000) // 256)

    async def start(self: Actor, ctx: Context) -> None:
        ctx.frame("camera", entity, {"seq": 1}, body)

    async with running_actor(made(name=f"stock-{entity}", start=start), broker):
        listing = await eventually(lambda: broker.last_frame(f"frame.camera.{entity}"))
        header, _ = unpack(listing)
        parts = [await broker.last_frame(part_subject(f"frame.camera.{entity}", n + 1)) for n in range(header["parts"])]

    assert header["parts"] == 2 and header["seq"] == 1
    assert b"".join(bytes(unpack(part)[1]) for part in parts if part is not None) == body
