"""Tests of actors/octane/simulator/answers/project.py, over the wire."""

from __future__ import annotations

import grpc
import pytest

from protos import octane_livelink_pb2 as livelink
from protos import octane_project_pb2 as project
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call


async def test_it_says_what_it_is_and_what_its_passes_are_called():
    async with simulated(LONG) as octane:
        assert not (await call(octane.address, "isDemoVersion")).result
        assert not (await call(octane.address, "isSubscriptionVersion")).result
        assert (await call(octane.address, "tierIdx")).result == -1
        assert (await call(octane.address, "isValid")).result
        assert (await call(octane.address, "renderPassName", id=1003)).result == "Z-depth"
        assert (await call(octane.address, "renderPassShortName", id=1003)).result == "ZDepth"
        with pytest.raises(grpc.aio.AioRpcError, match="no render pass 4711"):
            await call(octane.address, "renderPassName", id=4711)


async def test_a_project_is_observed_and_reset_and_changes_are_taken():
    async with simulated(LONG) as octane:
        observer = project.GRPCProjectManagerObserverT(callbackSource="grpc", callbackId=1)
        assert (await call(octane.address, "addObserver", observer=observer)).callbackId
        await call(octane.address, "removeObserver", removeObserver=observer)
        with pytest.raises(grpc.aio.AioRpcError, match="invalid pointer type"):
            await call(octane.address, "addObserver")
        wipes = octane.render.wipes
        assert (await call(octane.address, "resetProject", suppressUI=True)).result
        await call(octane.address, "update")
        assert octane.render.wipes > wipes


async def test_parts_of_the_camera_are_set_and_others_stay():
    async with simulated(LONG) as octane:
        before = await call(octane.address, "GetCamera")
        await call(octane.address, "SetCamera", up=livelink.Vec3(x=1), fov=30)
        after = await call(octane.address, "GetCamera")

    assert (after.position, after.target) == (before.position, before.target)
    assert (after.up.x, after.up.y, after.fov) == (1, 0, 30)


@pytest.mark.parametrize(
    "fields",
    [
        {"fov": 0.0},
        {"fov": 180.0},
        {"position": livelink.Vec3(x=float("nan"))},
        {"position": livelink.Vec3(x=1), "target": livelink.Vec3(x=1)},
    ],
)
async def test_a_camera_that_cannot_be_is_refused_and_changes_nothing(fields):
    async with simulated(LONG) as octane:
        before = octane.view
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, "SetCamera", **fields)

        assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT and octane.view == before


async def test_without_a_render_target_no_camera_is_set_and_a_default_one_is_told():
    async with simulated(LONG) as octane:
        await call(octane.address, "stopRendering")
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, "SetCamera", fov=30)
        camera = await call(octane.address, "GetCamera")

    assert fault.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (camera.position.x, camera.position.y, camera.position.z) == (5, 3, 5) and not camera.HasField("fov")
