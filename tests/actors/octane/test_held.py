"""The newest picture of a track is decoded when a rendition is wanted, and tells what it is."""

from __future__ import annotations

import numpy as np
import pytest

from actors.octane.errors import Unreadable
from actors.octane.held import HeldPicture, PictureStamp, progress_of, stamp_of
from protos import octane_types_pb2 as wire
from router.rendition import DEFAULT, Rendition
from tests.actors.octane.images import image_of


def image(**fields: object) -> wire.ApiRenderImage:
    values = np.full((6, 80, 4), 120, np.uint8)
    return image_of(values, wire.IMAGE_TYPE_LDR_RGBA, tonemappedSamplesPerPixel=7.0, **fields)


def held(picture: wire.ApiRenderImage) -> HeldPicture:
    return HeldPicture("beauty", picture, 5, simulated=True, quality=85)


def test_a_frame_tells_the_size_of_its_rendition_and_of_the_render():
    found = held(image(maxSamplesPerPixel=9.0, renderTime=1.5))
    small = Rendition("png", 64, "black")

    header = found.header(small, found.make(small))

    assert header.items() >= {
        "seq": 5, "width": 64, "height": 5, "full_width": 80, "full_height": 6, "format": "png", "track": "beauty",
        "samples": 7, "max_samples": 9, "render_time": 1.5, "short": False, "simulated": True, "source": "simulated",
    }.items()  # fmt: skip


def test_a_picture_is_decoded_once_for_all_its_renditions():
    found = held(image())
    first = found.make(DEFAULT)

    assert found.readable and not found.short
    assert found.make(DEFAULT) is first


def test_a_picture_that_cannot_be_decoded_is_not_readable():
    broken = image()
    broken.buffer.data = b""

    found = held(broken)

    with pytest.raises(Unreadable):
        found.make(DEFAULT)
    assert not found.readable


@pytest.mark.parametrize(
    ("change", "newer"),
    [
        ({}, False),
        ({"samples": 8.0}, True),
        ({"samples": 1.0}, True),
        ({"region_samples": 1.0}, True),
        ({"pending": True}, True),
        ({"size": (3, 3)}, True),
        ({"change_level": 4}, True),
        ({"change_level": 2, "samples": 99.0}, False),
    ],
)
def test_a_picture_is_new_where_anything_changed_but_not_where_its_scene_is_older(change, newer):
    shown = {"change_level": 3, "samples": 7.0, "region_samples": 0.0, "pending": False, "size": (2, 2)}

    assert PictureStamp(**shown | change).newer_than(PictureStamp(**shown)) is newer
    assert PictureStamp(**shown).newer_than(None)


def test_a_picture_without_numbers_has_no_stamp():
    bare = image()
    bare.ClearField("tonemappedSamplesPerPixel")

    assert stamp_of(bare) is None
    assert stamp_of(image()) == PictureStamp(0, 7.0, 0.0, False, (80, 6))
    assert progress_of(image(regionSamplesPerPixel=2.0)).region_samples == 2.0
