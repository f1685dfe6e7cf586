"""Tests of actors/octane/simulator/answers/rendering.py, over the wire."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call
from tests.waiting import eventually


def region(left: int, top: int, right: int, bottom: int) -> dict[str, object]:
    least, most = wire.uint32_2(x=left, y=top), wire.uint32_2(x=right, y=bottom)
    return {"active": True, "regionMin": least, "regionMax": most, "featherWidth": 3}


async def statistics(address: str) -> wire.RenderResultStatistics:
    return (await call(address, "getRenderStatistics")).statistics


async def test_a_region_renders_on_its_own_and_the_rest_of_the_picture_stands():
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples > 1)
        await call(octane.address, "setRenderRegion", **region(4, 3, 40, 20))
        before = await statistics(octane.address)
        await eventually(lambda: octane.render.region_samples > before.regionSamplesPerPixel + 3)

        after = await statistics(octane.address)
        (image,) = (await call(octane.address, "grabRenderResult")).renderImages.data
        kept = await call(octane.address, "getRenderRegion")
        await call(octane.address, "setRenderRegion", active=False)
        await eventually(lambda: octane.render.samples > after.beautySamplesPerPixel)

    assert after.beautySamplesPerPixel == before.beautySamplesPerPixel == image.tonemappedSamplesPerPixel
    assert image.regionSamplesPerPixel > before.regionSamplesPerPixel
    assert kept.active and (kept.regionMin.x, kept.regionMax.y, kept.featherWidth) == (4, 20, 3)


@pytest.mark.parametrize("corners", [(5, 5, 5, 9), (5, 9, 9, 9), (60, 0, 70, 9)])
async def test_a_region_without_pixels_is_refused(corners):
    async with simulated(LONG) as octane:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, "setRenderRegion", **region(*corners))

        assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT and not octane.region.active


@pytest.mark.parametrize(
    "reference", [{"handle": 1000007, "type": 18}, {"handle": 1000007, "type": 0}, {"handle": 77, "type": 17}]
)
@pytest.mark.parametrize(
    ("rpc", "field"), [("setRenderTargetNode", "targetNode"), ("getEnabledAovs", "renderTargetNode")]
)
async def test_a_reference_of_the_wrong_type_is_refused(reference, rpc, field):
    async with simulated(LONG) as octane:
        with pytest.raises(grpc.aio.AioRpcError, match="invalid pointer type") as fault:
            await call(octane.address, rpc, **{field: wire.ObjectRef(**reference)})

    assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_node_that_is_no_target_is_answered_with_false():
    async with simulated(LONG) as octane:
        camera = (await call(octane.address, "getRenderCameraNode")).result
        assert not (await call(octane.address, "setRenderTargetNode", targetNode=camera)).result
        assert octane.aimed_at().handle == 1000007


async def test_a_stopped_render_has_neither_target_nor_camera_and_no_restart():
    async with simulated(LONG) as octane:
        target = (await call(octane.address, "getRenderTargetNode")).result
        await call(octane.address, "stopRendering")
        for rpc in ("continueRendering", "restartRendering"):
            await call(octane.address, rpc)

        for rpc in ("getRenderTargetNode", "getRenderCameraNode", "getRenderGeometryNode"):
            assert (await call(octane.address, rpc)).result.handle == 0
        assert (await statistics(octane.address)).state == wire.RSTATE_STOPPED
        assert (await call(octane.address, "setRenderTargetNode", targetNode=target)).result
        await eventually(lambda: octane.render.samples)


@pytest.mark.parametrize(
    ("setter", "field", "getter", "value", "wrong"),
    [
        ("setRenderPriority", "priority", "renderPriority", 2, 3),
        ("setSubSampleMode", "mode", "getSubSampleMode", wire.SUBSAMPLEMODE_4X4, 0),
        ("setSubSampleMode", "mode", "getSubSampleMode", wire.SUBSAMPLEMODE_2X2, 3),
        ("setClayMode", "mode", "clayMode", wire.CLAYMODE_GREY, 9),
        ("setFps", "fps", "fps", 24.0, 0.0),
    ],
)
async def test_a_mode_is_kept_and_one_that_there_is_not_is_refused(setter, field, getter, value, wrong):
    async with simulated(LONG) as octane:
        await call(octane.address, setter, **{field: value})
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, setter, **{field: wrong})

        assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await call(octane.address, getter)).result == value


async def test_clay_and_sub_sampling_are_seen_in_the_picture():
    async with simulated(replace(LONG, hdr=True)) as octane:
        await call(octane.address, "setClayMode", mode=wire.CLAYMODE_GREY)
        await call(octane.address, "setSubSampleMode", mode=wire.SUBSAMPLEMODE_2X2)
        await eventually(lambda: octane.render.samples > 4)
        (image,) = (await call(octane.address, "grabRenderResult")).renderImages.data

    assert image.subSampling == wire.SUBSAMPLEMODE_2X2
    pixel = image.buffer.data[:16]
    assert pixel == image.buffer.data[16:32] == image.buffer.data[64 * 16 : 64 * 16 + 16]


async def test_change_levels_tell_a_restart_from_what_was_before():
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples)
        await call(octane.address, "restartRendering")

        levels = [
            (await call(octane.address, rpc)).result.value
            for rpc in ("getCurrentChangeLevel", "getRenderRestartedChangeLevel")
        ]
        assert levels == [2, 2]
        await eventually(lambda: octane.render.samples)
        assert (await call(octane.address, "getRenderImageChangeLevel")).result.value == 2


async def test_a_failure_and_a_ready_image_can_be_asked_for_and_reset():
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples)
        assert (await call(octane.address, "isImageReady")).result
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        assert (await call(octane.address, "isRenderFailure")).result

        for rpc in ("resetImageReady", "resetRenderFailure"):
            await call(octane.address, rpc)

        for rpc in ("isImageReady", "isRenderFailure", "isCompressingTextures", "isCompiling", "hasPendingRenderData"):
            assert not (await call(octane.address, rpc)).result
