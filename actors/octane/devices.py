"""Asks an Octane what it renders with: its devices and their memory, the scene's size, the open project."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actors.octane.client import OctaneClient
from actors.octane.errors import Declined

# 5 s: figures for people, and an Octane dies under many calls in a row.
ASK_SECONDS = 5.0
# A minute: a server that does not know a call will not know it a moment later either.
DECLINED_SECONDS = 60.0
# 64: more devices than one machine holds; the number comes from outside.
MAX_DEVICES = 64
# Characters of a device's name and of a project's path; both come from outside.
MAX_NAME = 200
MAX_PATH = 1000


class OctaneEquipment:
    """What is known of the devices, the scene and the project of one connection; asked for every 5 s at most."""

    def __init__(self, client: OctaneClient, now: Callable[[], float]) -> None:
        self._client, self._now = client, now
        self._due = -math.inf
        self._refused: dict[str, float] = {}
        self._names: dict[int, tuple[str, bool | None]] = {}
        self._known: dict[str, Any] = {}
        # The node that is rendered; 0 where none is, or the server does not say.
        self.target = 0

    def forget(self) -> None:
        """Has everything asked for again with the next call: another project was opened."""
        self._due = -math.inf

    async def known(self) -> dict[str, Any]:
        """The fields of a statistics event, as far as the server gives them. Raises Disconnected."""
        if self._now() >= self._due:
            self._due = self._now() + ASK_SECONDS
            self._known = await self._asked()
        return self._known

    async def _asked(self) -> dict[str, Any]:
        found: dict[str, Any] = {"project": (await self._client.current_project())[:MAX_PATH]}
        target = await self._ask("getRenderTargetNode")
        self.target = target.result.handle if target is not None else 0
        if devices := await self._devices():
            found["devices"] = devices
        if (answer := await self._ask("getGeometryStatistics")) is not None:
            stats = answer.stats
            found["primitives"] = stats.triCount + stats.dispTriCount + stats.hairSegCount + stats.sphereCount
            found["meshes"] = stats.instanceCount
        return found

    async def _devices(self) -> list[dict[str, Any]]:
        answer = await self._ask("getDeviceCount")
        count = min(answer.result, MAX_DEVICES) if answer is not None else 0
        return [await self._device(index) for index in range(count)]

    async def _device(self, index: int) -> dict[str, Any]:
        if index not in self._names:
            name = await self._ask("getDeviceName", index=index)
            ray_tracing = await self._ask("deviceUsesHardwareRayTracing", index=index)
            self._names[index] = (
                name.result[:MAX_NAME] if name is not None else f"device {index}",
                ray_tracing.result if ray_tracing is not None else None,
            )
        label, rays = self._names[index]
        device: dict[str, Any] = {"name": label}
        if (usage := await self._ask("getMemoryUsage", deviceIx=index)) is not None:
            memory = usage.memUsage
            device |= {
                "used_memory": memory.usedDeviceMemory,
                "free_memory": memory.freeDeviceMemory,
                "total_memory": memory.totalDeviceMemory,
            }
        return device if rays is None else device | {"hardware_ray_tracing": rays}

    async def _ask(self, rpc: str, **fields: Any) -> Any:
        """Makes one call; None where the server refuses it, which is then not asked again for a minute."""
        if self._now() < self._refused.get(rpc, -math.inf):
            return None
        try:
            return await self._client.engine(rpc, **fields)
        except Declined:
            self._refused[rpc] = self._now() + DECLINED_SECONDS
            return None
