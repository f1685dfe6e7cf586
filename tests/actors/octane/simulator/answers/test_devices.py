"""Tests of actors/octane/simulator/answers/devices.py, over the wire."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from actors.octane.simulator.answers.devices import TOTAL_MEMORY
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call


@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("getDeviceName", "index"),
        ("deviceUsesHardwareRayTracing", "index"),
        ("deviceSupportsHardwareRayTracing", "index"),
        ("getMemoryUsage", "deviceIx"),
        ("getResourceStatistics", "deviceIx"),
        ("renderDeviceState", "deviceIx"),
        ("renderDeviceErrorCode", "deviceIx"),
        ("renderDeviceErrorMessage", "deviceIx"),
    ],
)
async def test_a_device_that_is_not_there_is_refused(rpc, field):
    async with simulated(replace(LONG, devices=2)) as octane:
        await call(octane.address, rpc, **{field: 1})
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, rpc, **{field: 2})

    assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_devices_have_names_and_memory_of_their_own():
    async with simulated(replace(LONG, devices=2)) as octane:
        assert (await call(octane.address, "getDeviceCount")).result == 2
        names = [(await call(octane.address, "getDeviceName", index=index)).result for index in range(2)]
        memory = (await call(octane.address, "getMemoryUsage", deviceIx=1)).memUsage
        device, elsewhere = [
            (await call(octane.address, "getResourceStatistics", memoryLocation=each)).resourceStats
            for each in (wire.MEMORY_LOCATION_DEVICE, wire.MEMORY_LOCATION_OUT_OF_CORE)
        ]

    assert len(set(names)) == 2 and all("simulated" in name for name in names)
    assert memory.usedDeviceMemory + memory.freeDeviceMemory == memory.totalDeviceMemory == TOTAL_MEMORY
    assert device.filmDataSize == memory.usedDeviceMemory and not elsewhere.filmDataSize


async def test_only_the_first_device_fails():
    async with simulated(replace(LONG, devices=2)) as octane:
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)

        states = [(await call(octane.address, "renderDeviceState", deviceIx=index)).result for index in range(2)]
        codes = [(await call(octane.address, "renderDeviceErrorCode", deviceIx=index)).result for index in range(2)]
        text = (await call(octane.address, "errorcodeToString", code=codes[0])).result

    assert states == [wire.RENDER_DEVICE_STATE_ACTIVE_FAILED, wire.RENDER_DEVICE_STATE_ACTIVE_OK]
    assert codes == [wire.RENDER_ERROR_KERNEL_FAILED, wire.RENDER_ERROR_NONE] and text == "kernel failed"


async def test_an_error_that_there_is_not_has_no_text():
    async with simulated(LONG) as octane:
        with pytest.raises(grpc.aio.AioRpcError, match="no error 77"):
            await call(octane.address, "errorcodeToString", code=77)


async def test_the_scene_is_counted():
    async with simulated(LONG) as octane:
        geometry = (await call(octane.address, "getGeometryStatistics")).stats
        textures = (await call(octane.address, "getTexturesStatistics")).textureStats

    assert (geometry.sphereCount, geometry.triCount, geometry.instanceCount) == (6, 2, 7)
    assert textures.usedRgba32Textures == 0
