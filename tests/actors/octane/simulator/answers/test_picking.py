"""Tests of actors/octane/simulator/answers/picking.py, over the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.simulator.simulator import FIRST_OBJECT
from protos import octane_livelink_pb2 as livelink
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call
from tests.waiting import eventually


async def test_the_ball_that_the_camera_looks_at_is_picked_with_its_place():
    async with simulated(LONG) as octane:
        place, target = livelink.Vec3(x=0, y=1, z=8), livelink.Vec3(x=0, y=1, z=0)
        await call(octane.address, "SetCamera", position=place, target=target)

        picked = await call(octane.address, "pick", x=24, y=13, intersectionsSize=4)

    met = picked.intersections
    assert picked.result == 1 and (met.node.handle, met.node.type) == (FIRST_OBJECT, wire.ObjectRef.ApiNode)
    assert (met.depth, met.position.z, met.geometricNormal.z) == pytest.approx((7, 1, 1), abs=0.02)


@pytest.mark.parametrize("at", [{"x": 24, "y": 0}, {"x": 48, "y": 3}, {"x": 3, "y": 27}, {"x": 1 << 31, "y": 0}])
async def test_the_sky_and_what_lies_outside_of_the_picture_are_nothing(at):
    async with simulated(LONG) as octane:
        place, target = livelink.Vec3(x=0, y=2, z=9), livelink.Vec3(x=0, y=2, z=0)
        await call(octane.address, "SetCamera", position=place, target=target)
        picked = await call(octane.address, "pick", intersectionsSize=1, **at)

    assert picked.result == 0 and not picked.HasField("intersections")


async def test_without_room_for_intersections_none_is_given():
    async with simulated(LONG) as octane:
        assert (await call(octane.address, "pick", x=24, y=20)).result == 0


async def test_a_white_point_is_the_light_of_its_pixel():
    async with simulated(replace(LONG, hdr=True)) as octane:
        await eventually(lambda: octane.render.samples > 2)
        await call(octane.address, "pauseRendering")
        white = await call(octane.address, "pickWhitePoint", x=10, y=20)
        outside = await call(octane.address, "pickWhitePoint", x=48, y=20)

    assert white.result and white.whitePoint.x > 0 and not outside.result


async def test_the_scene_has_bounds():
    async with simulated(LONG) as octane:
        bounds = await call(octane.address, "getSceneBounds")

    assert bounds.result and bounds.bboxMin.y == 0 and bounds.bboxMax.y == pytest.approx(2.0)
