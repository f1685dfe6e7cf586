"""Tests of actors/octane/simulator/spoiling.py: spoilt pictures are copies, and several faults add up."""

from __future__ import annotations

import math

import pytest

from actors.octane.simulator.faults import FaultBoard, OctaneFault
from actors.octane.simulator.spoiling import SPOILING, before_last_change, spoil
from protos import octane_types_pb2 as wire


@pytest.fixture
def image() -> wire.ApiRenderImage:
    sound = wire.ApiRenderImage(
        type=wire.IMAGE_TYPE_LDR_RGBA,
        size=wire.uint32_2(x=6, y=5),
        pitch=8,
        changeLevel=wire.CLevelT(value=3),
        tonemappedSamplesPerPixel=4,
        calculatedSamplesPerPixel=4,
        maxSamplesPerPixel=50,
    )
    sound.buffer.data, sound.buffer.size = bytes(160), 160
    return sound


def board(*faults: OctaneFault) -> FaultBoard:
    made = FaultBoard()
    for fault in faults:
        made.start(fault, math.inf)
    return made


@pytest.mark.parametrize("fault", SPOILING)
def test_the_picture_that_is_kept_stays_sound(image: wire.ApiRenderImage, fault: OctaneFault) -> None:
    before = image.SerializeToString(deterministic=True)

    spoilt = spoil(image, board(fault))

    assert image.SerializeToString(deterministic=True) == before
    assert spoilt.SerializeToString(deterministic=True) != before


def test_faults_of_other_parts_leave_the_picture_alone(image: wire.ApiRenderImage) -> None:
    assert spoil(image, board(OctaneFault.HANG, OctaneFault.DUPLICATE, OctaneFault.HELD)) is image


def test_a_texture_has_eight_bytes_for_each_block_of_four_by_four_also_at_the_edges(image: wire.ApiRenderImage) -> None:
    spoilt = spoil(image, board(OctaneFault.COMPRESSED, OctaneFault.PENDING))

    assert len(spoilt.buffer.data) == spoilt.buffer.size == 2 * 2 * 8
    assert spoilt.type == wire.IMAGE_TYPE_BC1_UNORM and spoilt.hasPendingUpdates


@pytest.mark.parametrize(("level", "before"), [(3, 2), (1, 0), (0, 0)])
def test_a_late_picture_is_a_finished_one_of_the_change_level_before(
    image: wire.ApiRenderImage, level: int, before: int
) -> None:
    image.changeLevel.value = level

    late = before_last_change(image)

    assert (late.changeLevel.value, late.tonemappedSamplesPerPixel, late.calculatedSamplesPerPixel) == (before, 50, 50)
    assert (image.changeLevel.value, image.tonemappedSamplesPerPixel) == (level, 4)
