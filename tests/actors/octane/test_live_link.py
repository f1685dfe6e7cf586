"""The camera over LiveLink, as a simulated Octane has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.octane.camera import CameraPose
from actors.octane.client import OctaneClient
from actors.octane.errors import Declined
from actors.octane.link import OctaneLink
from actors.octane.live_link import read_camera, set_camera
from actors.octane.simulator.simulator import Simulator
from actors.system.actor import Reject
from tests.actors.octane.commanding import STEADY
from tests.actors.octane.simulation import simulated
from tests.actors.octane.simulator.asking import call


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Simulator, OctaneLink]]:
    async with simulated(STEADY) as octane, OctaneClient(octane.address) as client:
        link = OctaneLink(octane.address)
        link.connected(client, lambda: None)
        yield octane, link


async def test_a_camera_that_is_set_is_read_back_and_applied() -> None:
    async with linked() as (octane, link):
        pose = CameraPose((1.0, 2.0, 3.0), (0.0, 0.5, 0.0), (0.0, 0.0, 1.0), 30.0)

        await set_camera(link, pose)

        assert (await read_camera(link)).near(pose)
        assert octane.calls["update"] == 1


async def test_a_field_of_view_that_is_not_given_stays() -> None:
    async with linked() as (_, link):
        before = await read_camera(link)

        await set_camera(link, CameraPose((1.0, 2.0, 3.0), (0.0, 0.0, 0.0)))

        assert before.fov and (await read_camera(link)).fov == before.fov


async def test_a_camera_without_up_and_field_of_view_has_the_usual_up_and_none() -> None:
    async with linked() as (octane, link):
        await call(octane.address, "stopRendering")

        assert await read_camera(link) == CameraPose((5.0, 3.0, 5.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), None)


async def test_a_camera_that_octane_declines_is_not_applied_and_without_a_connection_there_is_none() -> None:
    async with linked() as (octane, link):
        with pytest.raises(Declined, match="cannot look"):
            await set_camera(link, CameraPose((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
        assert octane.calls["update"] == 0 and octane.camera is None

    with pytest.raises(Reject, match="no octane answers"):
        await read_camera(OctaneLink("127.0.0.1:1"))
