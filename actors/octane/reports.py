"""Carries out the commands that ask an Octane about its devices, its memory and its scene."""

from __future__ import annotations

from typing import Any

from actors.octane.arguments import DeviceIndex
from actors.octane.client import enum_name
from actors.octane.controls import OctaneControls
from actors.system.actor import Reject
from protos import octane_types_pb2 as wire

# 16: more devices than one machine holds; the number comes from outside.
MAX_DEVICES = 16

_LOCATIONS = {"device": 0, "out_of_core": 1, "peer_to_peer": 2}


class ReportCommands:
    """The commands that only ask. A figure that this Octane declines to tell is null."""

    def __init__(self, controls: OctaneControls) -> None:
        self._controls, self._link = controls, controls.link

    async def resource_statistics(self, device: DeviceIndex | None = None) -> dict[str, Any]:
        """Reads what takes the memory of each device, in bytes, by where it lies."""
        devices = []
        for index in await self._indices(device):
            locations = {}
            for name, number in _LOCATIONS.items():
                answer = await self._link.engine("getResourceStatistics", deviceIx=index, memoryLocation=number)
                locations[name] = _figures(answer.resourceStats, "DataSize")
            devices.append({"index": index, "name": await self._name(index), "memory": locations})
        return await self._controls.answer({"devices": devices})

    async def device_statistics(self) -> dict[str, Any]:
        """Reads name, state, memory and ray tracing of each device."""
        return await self._controls.answer(
            {"devices": [await self._device(index) for index in await self._indices(None)]}
        )

    async def geometry_statistics(self) -> dict[str, Any]:
        """Counts the scene's triangles, instances, hairs and other primitives."""
        answer = await self._link.engine("getGeometryStatistics")
        return await self._controls.answer(_figures(answer.stats, "Count"))

    async def texture_statistics(self) -> dict[str, Any]:
        """Counts the textures that the scene uses, by type."""
        answer = await self._link.engine("getTexturesStatistics")
        return await self._controls.answer(_figures(answer.textureStats))

    async def is_compiling(self) -> dict[str, Any]:
        """Says whether Octane compiles its scene, and whether it compresses textures."""
        compiling = await self._link.engine("isCompiling")
        compressing = await self._link.engine_knows("isCompressingTextures")
        return await self._controls.answer(
            {"compiling": compiling.result, "compressing_textures": None if compressing is None else compressing.result}
        )

    async def _indices(self, device: int | None) -> list[int]:
        count = (await self._link.engine("getDeviceCount")).result
        if device is None:
            return list(range(min(count, MAX_DEVICES)))
        if device >= count:
            raise Reject(f"device must be less than {count}, the number of devices")
        return [device]

    async def _name(self, index: int) -> str:
        # This call says `index`, its neighbours `deviceIx`.
        return str((await self._link.engine("getDeviceName", index=index)).result)

    async def _device(self, index: int) -> dict[str, Any]:
        memory = await self._link.engine("getMemoryUsage", deviceIx=index)
        state = await self._link.engine_knows("renderDeviceState", deviceIx=index)
        uses = await self._link.engine_knows("deviceUsesHardwareRayTracing", index=index)
        supports = await self._link.engine_knows("deviceSupportsHardwareRayTracing", index=index)
        return {
            "index": index,
            "name": await self._name(index),
            "state": None if state is None else enum_name(wire.RenderDeviceState, state.result, "RENDER_DEVICE_STATE_"),
            "memory": {
                "used": memory.memUsage.usedDeviceMemory,
                "free": memory.memUsage.freeDeviceMemory,
                "total": memory.memUsage.totalDeviceMemory,
                "out_of_core": memory.memUsage.outOfCoreMemory,
                "peer_to_peer": memory.memUsage.peerToPeerBytesUsed,
            },
            "hardware_ray_tracing": {
                "used": None if uses is None else uses.result,
                "supported": None if supports is None else supports.result,
            },
        }


def _figures(message: Any, ending: str = "") -> dict[str, int]:
    """The fields of a message as snake_case names and numbers; zeros are figures too."""
    return {
        _snake(each.name.removesuffix(ending)): int(getattr(message, each.name)) for each in message.DESCRIPTOR.fields
    }


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
