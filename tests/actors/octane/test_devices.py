"""What is known of the devices that an Octane renders with."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from actors.octane.client import Engine, OctaneClient
from actors.octane.devices import OctaneEquipment
from actors.octane.errors import Declined
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire


class ScriptedOctane:
    """An Octane of two devices that counts the calls, and refuses those that a test names."""

    def __init__(self, *refused: str) -> None:
        self.calls: Counter[str] = Counter()
        self.refused = set(refused)
        self.project = "/scenes/lamp.orbx"

    async def engine(self, rpc: str, **fields: Any) -> Any:
        self.calls[rpc] += 1
        if rpc in self.refused:
            raise Declined("unimplemented")
        memory = render.ApiDeviceMemoryUsage(usedDeviceMemory=3, freeDeviceMemory=5, totalDeviceMemory=8)
        return {
            "getRenderTargetNode": Engine.getRenderTargetNodeResponse(result=wire.ObjectRef(handle=42)),
            "getDeviceCount": Engine.getDeviceCountResponse(result=2),
            "getDeviceName": Engine.getDeviceNameResponse(result=f"GPU {fields.get('index')}"),
            "deviceUsesHardwareRayTracing": Engine.deviceUsesHardwareRayTracingResponse(result=True),
            "getMemoryUsage": Engine.getMemoryUsageResponse(memUsage=memory),
            "getGeometryStatistics": Engine.getGeometryStatisticsResponse(
                stats=render.ApiGeometryStatistics(triCount=1000, hairSegCount=10, instanceCount=7)
            ),
        }[rpc]

    async def current_project(self) -> str:
        return self.project


class Hand:
    """A clock that a test sets."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def equipment(octane: ScriptedOctane) -> tuple[OctaneEquipment, Hand]:
    hand = Hand()
    return OctaneEquipment(cast(OctaneClient, octane), hand), hand


async def test_devices_scene_and_project_are_known():
    known, _ = equipment(ScriptedOctane())

    found = await known.known()

    memory = {"used_memory": 3, "free_memory": 5, "total_memory": 8, "hardware_ray_tracing": True}
    assert found == {
        "project": "/scenes/lamp.orbx",
        "devices": [{"name": "GPU 0", **memory}, {"name": "GPU 1", **memory}],
        "primitives": 1010,
        "meshes": 7,
    }
    assert known.target == 42


async def test_they_are_asked_for_every_five_seconds_and_names_once():
    octane = ScriptedOctane()
    known, hand = equipment(octane)

    for hand.time in (100.0, 101.0, 104.9, 105.0):
        await known.known()

    assert octane.calls["getMemoryUsage"] == 4 and octane.calls["getDeviceName"] == 2


async def test_another_project_has_them_asked_for_at_once():
    octane = ScriptedOctane()
    known, _ = equipment(octane)
    await known.known()
    octane.project = "/scenes/other.orbx"

    known.forget()

    assert (await known.known())["project"] == "/scenes/other.orbx"


async def test_a_call_that_is_refused_is_left_alone_for_a_minute():
    octane = ScriptedOctane("getGeometryStatistics", "getMemoryUsage")
    known, hand = equipment(octane)

    for hand.time in (100.0, 110.0, 150.0):
        found = await known.known()

    assert "meshes" not in found and found["devices"][0] == {"name": "GPU 0", "hardware_ray_tracing": True}
    assert octane.calls["getGeometryStatistics"] == 1
    hand.time = 161.0
    await known.known()
    assert octane.calls["getGeometryStatistics"] == 2
