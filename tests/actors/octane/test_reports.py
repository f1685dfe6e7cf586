"""What an Octane tells of devices, memory and scene, against the simulator over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.system.actor import Reject
from tests.actors.octane.commanding import STEADY, commanded


async def test_devices_memory_geometry_textures_and_compilation_are_told():
    async with commanded(replace(STEADY, devices=2)) as (_, probe):
        devices = (await probe.ask("device_statistics"))["result"]["devices"]
        assert [each["index"] for each in devices] == [0, 1]
        assert all(each["name"] and each["memory"]["total"] >= each["memory"]["used"] for each in devices)
        resources = (await probe.ask("resource_statistics", device=1))["result"]["devices"]
        assert [each["index"] for each in resources] == [1]
        assert set(resources[0]["memory"]) == {"device", "out_of_core", "peer_to_peer"}
        assert "geometry" in resources[0]["memory"]["device"]
        with pytest.raises(Reject, match=r"^device must be less than 2, the number of devices"):
            await probe.ask("resource_statistics", device=2)
        geometry = (await probe.ask("geometry_statistics"))["result"]
        assert set(geometry) >= {"tri", "instance", "voxel"}
        assert set((await probe.ask("texture_statistics"))["result"]) >= {"used_rgba32_textures"}
        assert (await probe.ask("is_compiling"))["result"] == {"compiling": False, "compressing_textures": False}
