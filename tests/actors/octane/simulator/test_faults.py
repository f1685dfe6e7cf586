"""Tests of actors/octane/simulator/faults.py: each fault as a client on the wire sees it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest

from actors.octane.simulator.faults import FaultBoard, OctaneFault
from actors.octane.simulator.simulator import OctaneGeneration, SimulatedKind
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import ask, call, channel_to, end_of, events_of, listening, register
from tests.waiting import PATIENCE, eventually

# No events but those that a test asks for, once there is a picture.
STILL = replace(LONG, max_samples=3, rest=600.0)


async def kind_of(events: Any) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await events.read()).WhichOneof("payload")


def grabbed(answer: Any) -> wire.ApiRenderImage:
    (image,) = answer.renderImages.data
    return image


async def test_a_stolen_slot_ends_the_losers_stream_and_tells_it_nothing_until_it_registers_again():
    async with simulated(LONG) as octane, listening(octane.address, user_data=5) as (channel, events):
        await kind_of(events)
        octane.strike(OctaneFault.SLOT)
        assert await end_of(events) is grpc.StatusCode.OK

        again = events_of(channel)
        await eventually(lambda: octane.listeners)
        samples = octane.render.samples
        await eventually(lambda: octane.render.samples > samples + 3)
        octane.tell(SimulatedKind.PROJECT_CHANGED)
        assert await kind_of(again) == "projectManagerChanged"

        await register(channel, user_data=6)
        event = await again.read()
        assert event.WhichOneof("payload") == "newImage" and octane.registered[SimulatedKind.NEW_IMAGE] == 6
        again.cancel()


async def test_a_broken_stream_is_unavailable_and_keeps_its_registration():
    async with simulated(LONG) as octane, listening(octane.address) as (channel, events):
        await kind_of(events)
        octane.strike(OctaneFault.STREAM)
        assert await end_of(events) is grpc.StatusCode.UNAVAILABLE

        again = events_of(channel)
        assert await kind_of(again) == "newImage"
        again.cancel()


async def test_a_restart_drops_connections_and_state_and_listens_on_the_same_port():
    async with simulated(LONG) as octane, listening(octane.address) as (_, events):
        address = octane.address
        await call(address, "setRenderPriority", priority=2)
        await call(address, "restartRendering")
        octane.strike(OctaneFault.RESTART)
        assert await end_of(events) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        await eventually(lambda: octane.restarts == 1)

        assert octane.address == address
        await eventually(lambda: octane.render.samples)
        assert (await call(address, "renderPriority")).result == 1
        assert (await call(address, "getCurrentChangeLevel")).result.value == 1
        assert octane.registered == {} and not octane.listeners


async def test_a_late_picture_is_of_the_change_level_before_and_comes_once():
    async with simulated(LONG) as octane:
        await call(octane.address, "restartRendering")
        await eventually(lambda: octane.render.samples)
        octane.strike(OctaneFault.LATE)

        late, next_one = [grabbed(await call(octane.address, "grabRenderResult")) for _ in range(2)]

    assert (late.changeLevel.value, next_one.changeLevel.value) == (1, 2)
    assert late.tonemappedSamplesPerPixel > next_one.tonemappedSamplesPerPixel


async def test_a_hang_accepts_connections_and_answers_nothing_until_it_is_over():
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        octane.strike(OctaneFault.HANG)
        events = events_of(channel)
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await ask(channel, "octaneVersion", timeout=0.3)
        assert fault.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        waiting = asyncio.create_task(ask(channel, "octaneName"))
        await eventually(lambda: octane.calls["octaneName"])
        assert not octane.listeners

        octane.clear(OctaneFault.HANG)

        assert (await waiting).result == octane.name
        await eventually(lambda: octane.listeners)
        events.cancel()


@pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])
async def test_events_come_twice(generation):
    async with (
        simulated(replace(STILL, generation=generation)) as octane,
        listening(octane.address) as (_, events),
    ):
        await eventually(lambda: octane.render.state == wire.RSTATE_FINISHED and octane.listeners)
        octane.strike(OctaneFault.DUPLICATE)
        octane.tell(SimulatedKind.PROJECT_CHANGED)
        kinds: list[str] = []
        while kinds.count("projectManagerChanged") < 2:
            kinds.append(await kind_of(events))

        assert kinds[-2:] == ["projectManagerChanged"] * 2


async def test_streams_end_with_unknown_as_long_as_they_are_to():
    async with simulated(LONG) as octane, listening(octane.address) as (channel, events):
        await kind_of(events)
        octane.strike(OctaneFault.UNKNOWN_STATUS)
        for stream in (events, events_of(channel)):
            assert await end_of(stream) is grpc.StatusCode.UNKNOWN

        octane.clear(OctaneFault.UNKNOWN_STATUS)
        stream = events_of(channel)
        assert await kind_of(stream) == "newImage"
        stream.cancel()


async def test_refused_callbacks_are_unknown_and_events_come_all_the_same():
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        octane.strike(OctaneFault.REFUSED_CALLBACKS)
        with pytest.raises(grpc.aio.AioRpcError, match="Unexpected error in RPC handling") as fault:
            await register(channel)
        assert fault.value.code() is grpc.StatusCode.UNKNOWN and not octane.registered

        events = events_of(channel)
        assert await kind_of(events) == "newImage"
        events.cancel()


@pytest.mark.parametrize(
    ("fault", "image_type", "size", "length"),
    [
        (OctaneFault.SHORT, wire.IMAGE_TYPE_LDR_RGBA, (48, 27), 64 * 27),
        (OctaneFault.SHARED_SURFACE, wire.IMAGE_TYPE_LDR_RGBA, (0, 0), 0),
        (OctaneFault.COMPRESSED, wire.IMAGE_TYPE_BC1_UNORM, (48, 27), 12 * 7 * 8),
        (OctaneFault.WIDE, wire.IMAGE_TYPE_LDR_RGBA, (70_000, 2), 560_000),
        (OctaneFault.HUGE, wire.IMAGE_TYPE_LDR_RGBA, (16384, 16384), 64),
    ],
)
async def test_a_spoilt_picture_is_announced_and_so_is_the_sound_one_after_it(fault, image_type, size, length):
    async with simulated(STILL) as octane, listening(octane.address) as (channel, events):
        await eventually(lambda: octane.render.state == wire.RSTATE_FINISHED)
        await kind_of(events)
        octane.strike(fault)
        assert await kind_of(events) == "newImage"
        spoilt = grabbed(await ask(channel, "grabRenderResult"))
        octane.clear(fault)
        assert await kind_of(events) == "newImage"
        sound = grabbed(await ask(channel, "grabRenderResult"))

    assert (spoilt.type, (spoilt.size.x, spoilt.size.y), len(spoilt.buffer.data)) == (image_type, size, length)
    assert bool(spoilt.sharedSurface.handle) is (fault is OctaneFault.SHARED_SURFACE)
    assert (sound.size.x, len(sound.buffer.data)) == (48, 64 * 27 * 4)


async def test_pending_updates_are_in_pictures_and_statistics():
    async with simulated(STILL) as octane:
        await eventually(lambda: octane.render.samples)
        octane.strike(OctaneFault.PENDING)

        assert grabbed(await call(octane.address, "grabRenderResult")).hasPendingUpdates
        assert (await call(octane.address, "getRenderStatistics")).statistics.hasPendingUpdates
        octane.clear()
        assert not grabbed(await call(octane.address, "grabRenderResult")).hasPendingUpdates


async def test_a_held_result_is_nothing_to_grab_until_it_is_released():
    async with simulated(STILL) as octane:
        await eventually(lambda: octane.render.samples)
        assert [(await call(octane.address, "grabRenderResult")).result for _ in range(2)] == [True, True]
        await call(octane.address, "releaseRenderResult")

        octane.strike(OctaneFault.HELD)

        assert [(await call(octane.address, "grabRenderResult")).result for _ in range(3)] == [True, False, False]
        await call(octane.address, "releaseRenderResult")
        assert (await call(octane.address, "grabRenderResult")).result


async def test_a_fault_with_a_time_is_over_when_that_is():
    now = [0.0]
    board = FaultBoard(lambda: now[0])

    board.start(OctaneFault.HELD, 5.0)
    board.start(OctaneFault.SHORT, float("inf"))
    now[0] = 4.9
    assert OctaneFault.HELD in board and OctaneFault.SHORT in board
    now[0] = 5.1
    assert OctaneFault.HELD not in board and OctaneFault.SHORT in board
    board.end(None)
    assert OctaneFault.SHORT not in board


async def test_who_waits_for_the_end_of_a_fault_goes_on_when_it_is_over():
    board = FaultBoard()
    board.start(OctaneFault.HANG, 0.05)
    async with asyncio.timeout(PATIENCE):
        await board.over(OctaneFault.HANG)
        board.start(OctaneFault.HANG, float("inf"))
        waiting = asyncio.create_task(board.over(OctaneFault.HANG))
        await asyncio.sleep(0)
        assert not waiting.done()
        board.end(OctaneFault.HANG)
        await waiting
