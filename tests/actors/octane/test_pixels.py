"""Every image type, pitch and missing byte becomes the rows that it should, and a false size takes no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.octane.errors import Unreadable
from actors.octane.pixels import LAYOUTS, MAX_PIXELS_PER_ARRIVED, Alpha, decode
from protos import octane_types_pb2 as wire
from tests.actors.octane.images import image_of, values_of

sizes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 5))


@given(kind=st.sampled_from(sorted(LAYOUTS)), size=sizes, seed=st.integers(0, 1000), alpha=st.booleans())
def test_every_type_decodes_to_the_numbers_that_arrived_whatever_its_pitch(kind, size, seed, alpha):
    width, height, padding = size
    values = values_of(kind, width, height, seed)

    picture = decode(image_of(values, kind, padding=padding, hasAlpha=alpha))

    assert np.array_equal(picture.pixels, values)
    assert (picture.alpha is Alpha.STRAIGHT) == (alpha and values.shape[2] in (2, 4))
    assert (picture.width, picture.height, picture.rows, picture.short) == (width, height, height, False)


@given(kind=st.sampled_from(sorted(LAYOUTS)), size=sizes, seed=st.integers(0, 1000), missing=st.data())
def test_a_short_buffer_is_flagged_and_gives_what_arrived(kind, size, seed, missing):
    width, height, padding = size
    values = values_of(kind, width, height, seed)
    image = image_of(values, kind, padding=padding)
    stride, pitch = LAYOUTS[kind].stride, width + padding
    least = -(-width * height // MAX_PIXELS_PER_ARRIVED)
    kept = missing.draw(st.integers(least * stride, len(image.buffer.data)))
    image.buffer.data = image.buffer.data[:kept]

    picture = decode(image)

    pixels = kept // stride
    rows = sum(1 for row in range(height) if row * pitch + width <= pixels)
    assert picture.rows == rows and picture.short == (rows < height)
    for row in range(height):
        here = max(0, min(width, pixels - row * pitch))
        assert np.array_equal(picture.pixels[row, :here], values[row, :here])
        assert not picture.pixels[row, here:].any()


def test_a_picture_that_arrived_whole_is_not_copied():
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 640, 480, 1), wire.IMAGE_TYPE_LDR_RGBA, padding=16)

    picture = decode(image)

    assert isinstance(picture.stored.base, np.ndarray) and not picture.stored.flags.owndata
    assert picture.stored.shape == (480, 656, 4) and picture.stored.flags.c_contiguous


def test_the_quarter_of_a_float_picture_that_octane_sends_is_its_top_rows():
    image = image_of(np.ones((8, 4, 4), np.float32), wire.IMAGE_TYPE_HDR_RGBA)
    image.buffer.data = image.buffer.data[: len(image.buffer.data) // 4]

    picture = decode(image)

    assert (picture.rows, picture.short) == (2, True)
    assert (picture.pixels[:2] == 1).all() and not picture.pixels[2:].any()


def test_a_pitch_that_was_left_out_means_no_padding():
    values = values_of(wire.IMAGE_TYPE_LDR_RGBA, 5, 3, 1)
    image = image_of(values, wire.IMAGE_TYPE_LDR_RGBA)
    image.pitch = 0

    assert np.array_equal(decode(image).pixels, values)


def test_a_huge_pitch_takes_no_memory():
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 2, 2, 1), wire.IMAGE_TYPE_LDR_RGBA)
    image.pitch = (1 << 32) - 1

    assert decode(image).rows == 1


@pytest.mark.parametrize("size", [(16_000, 16_000), (8000, 8000), (1 << 31, 1 << 31), (17, 8), (1, 129)])
def test_a_size_far_beyond_what_arrived_is_unreadable_before_it_takes_memory(size):
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 4, 4, 1), wire.IMAGE_TYPE_LDR_RGBA)
    image.size.x, image.size.y = size
    image.pitch = 0
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="cannot be right: 16 pixels arrived"):
            decode(image)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": wire.IMAGE_TYPE_BC7_UNORM}, "type"),
        ({"type": 99}, "type"),
        ({"size": wire.uint32_2()}, "no size"),
        ({"size": wire.uint32_2(x=1 << 31, y=1 << 31)}, "cannot be right"),
        ({"buffer": wire.Buffer()}, "no pixels"),
        ({"buffer": wire.Buffer(data=b"abc")}, "no pixels"),
        ({"hasAlpha": True, "premultipliedAlphaType": 7}, "alpha of type 7"),
    ],
)
def test_a_picture_that_cannot_be_decoded_says_why(change, reason):
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 2, 2, 1), wire.IMAGE_TYPE_LDR_RGBA)
    for name in change:
        image.ClearField(name)
    image.MergeFrom(wire.ApiRenderImage(**change))

    with pytest.raises(Unreadable, match=reason):
        decode(image)


def test_alpha_of_linear_light_was_multiplied_before_any_transfer_function():
    values = values_of(wire.IMAGE_TYPE_HDR_RGBA, 2, 2, 1)
    fields = {"hasAlpha": True, "premultipliedAlphaType": "PREMULTIPLIED_ALPHA_TYPE_ENCODED"}

    assert decode(image_of(values, wire.IMAGE_TYPE_HDR_RGBA, isLinear=True, **fields)).alpha is Alpha.LINEARISED
    assert decode(image_of(values, wire.IMAGE_TYPE_HDR_RGBA, **fields)).alpha is Alpha.ENCODED
