"""Every image type, pitch and missing byte becomes the picture it should."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.octane.errors import Unreadable
from actors.octane.pixels import LAYOUTS, decode, to_jpeg
from protos import octane_types_pb2 as wire

sizes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 5))


def image_of(values: np.ndarray, kind: int, *, padding: int = 0, **fields: object) -> wire.ApiRenderImage:
    """Lays an array out as Octane does: rows padded to the pitch, with bytes that must never be seen."""
    height, width, channels = values.shape
    rows = np.full((height, width + padding, channels), 77, values.dtype)
    rows[:, :width] = values
    data = rows.tobytes()
    return wire.ApiRenderImage(
        type=wire.ImageType.Name(kind),
        size=wire.uint32_2(x=width, y=height),
        pitch=width + padding,
        buffer=wire.Buffer(data=data, size=len(data)),
        **fields,
    )


def values_of(kind: int, width: int, height: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    shape = (height, width, LAYOUTS[kind].channels)
    if LAYOUTS[kind].dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.uniform(-0.2, 1.4, shape).astype(LAYOUTS[kind].dtype)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """What a screen shows of values that are not linear, worked out the slow way."""
    if values.dtype == np.uint8:
        return values
    return (np.clip(values.astype(np.float32), 0, 1) * np.float32(255)).astype(np.uint8)


@given(kind=st.sampled_from(sorted(LAYOUTS)), size=sizes, seed=st.integers(0, 1000), alpha=st.booleans())
def test_every_type_decodes_to_the_same_pixels_whatever_its_pitch(kind, size, seed, alpha):
    width, height, padding = size
    values = values_of(kind, width, height, seed)

    picture = decode(image_of(values, kind, padding=padding, hasAlpha=alpha))

    channels = values.shape[2]
    colour = as_bytes(values[:, :, :3] if channels == 4 else np.repeat(values[:, :, :1], 3, axis=2))
    assert np.array_equal(picture.pixels[:, :, :3], colour)
    assert picture.pixels.shape[2] == (4 if alpha and channels in (2, 4) else 3)
    if picture.pixels.shape[2] == 4:
        assert np.array_equal(picture.pixels[:, :, 3], as_bytes(values[:, :, -1]))
    assert picture.pixels.flags.c_contiguous and picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height, picture.rows, picture.short) == (width, height, height, False)


@given(kind=st.sampled_from(sorted(LAYOUTS)), size=sizes, seed=st.integers(0, 1000), missing=st.data())
def test_a_short_buffer_is_flagged_and_shows_what_arrived(kind, size, seed, missing):
    width, height, padding = size
    image = image_of(values_of(kind, width, height, seed), kind, padding=padding)
    whole = decode(image).pixels
    stride, pitch = LAYOUTS[kind].stride, width + padding
    kept = missing.draw(st.integers(stride, len(image.buffer.data)))
    image.buffer.data = image.buffer.data[:kept]

    picture = decode(image)

    pixels = kept // stride
    rows = sum(1 for row in range(height) if row * pitch + width <= pixels)
    assert picture.rows == rows and picture.short == (rows < height)
    for row in range(height):
        here = max(0, min(width, pixels - row * pitch))
        assert np.array_equal(picture.pixels[row, :here], whole[row, :here])
        assert not picture.pixels[row, here:].any()


def test_the_quarter_of_a_float_picture_that_octane_sends_is_its_top_rows():
    values = np.ones((8, 4, 4), np.float32)
    image = image_of(values, wire.IMAGE_TYPE_HDR_RGBA)
    image.buffer.data = image.buffer.data[: len(image.buffer.data) // 4]

    picture = decode(image)

    assert (picture.rows, picture.short) == (2, True)
    assert (picture.pixels[:2] == 255).all() and not picture.pixels[2:].any()


@pytest.mark.parametrize(
    "fields", [{"isLinear": True}, {"colorSpace": wire.NAMED_COLOR_SPACE_LINEAR_SRGB}, {"colorSpace": 4}]
)
def test_linear_light_goes_through_the_srgb_curve(fields):
    values = np.array([0.0, 0.001, 0.0031308, 0.01, 0.18, 0.5, 0.9, 1.0], np.float32)

    picture = decode(image_of(values[None, :, None], wire.IMAGE_TYPE_HDR_MONO, **fields))

    exact = np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055) * 255
    assert np.abs(picture.pixels[0, :, 0] - exact).max() <= 0.51


def test_linear_bytes_go_through_the_curve_and_alpha_does_not():
    values = np.array([[[55, 55, 55, 55]]], np.uint8)

    picture = decode(image_of(values, wire.IMAGE_TYPE_LDR_RGBA, isLinear=True, hasAlpha=True))

    assert picture.pixels[0, 0].tolist() == [128, 128, 128, 55]


def test_values_that_are_no_numbers_are_clamped():
    values = np.array([[[np.nan], [np.inf], [-np.inf], [-3.0], [7.0]]], np.float32)

    picture = decode(image_of(values, wire.IMAGE_TYPE_HDR_MONO))

    assert picture.pixels[0, :, 0].tolist() == [0, 255, 0, 0, 255]


def test_a_pitch_that_was_left_out_means_no_padding():
    values = values_of(wire.IMAGE_TYPE_LDR_RGBA, 5, 3, 1)
    image = image_of(values, wire.IMAGE_TYPE_LDR_RGBA)
    image.pitch = 0

    assert np.array_equal(decode(image).pixels, values[:, :, :3])


def test_a_huge_pitch_takes_no_memory():
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 2, 2, 1), wire.IMAGE_TYPE_LDR_RGBA)
    image.pitch = (1 << 32) - 1

    assert decode(image).rows == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": wire.IMAGE_TYPE_BC7_UNORM}, "type"),
        ({"type": 99}, "type"),
        ({"size": wire.uint32_2()}, "no size"),
        ({"size": wire.uint32_2(x=1 << 31, y=1 << 31)}, "cannot be right"),
        ({"buffer": wire.Buffer()}, "no pixels"),
        ({"buffer": wire.Buffer(data=b"abc")}, "no pixels"),
    ],
)
def test_a_picture_that_cannot_be_decoded_says_why(change, reason):
    image = image_of(values_of(wire.IMAGE_TYPE_LDR_RGBA, 2, 2, 1), wire.IMAGE_TYPE_LDR_RGBA)
    for name in change:
        image.ClearField(name)
    image.MergeFrom(wire.ApiRenderImage(**change))

    with pytest.raises(Unreadable, match=reason):
        decode(image)


def test_the_jpeg_has_the_size_of_the_picture_and_no_alpha():
    values = np.full((6, 10, 4), 200, np.uint8)

    jpeg = to_jpeg(decode(image_of(values, wire.IMAGE_TYPE_LDR_RGBA, padding=3, hasAlpha=True)), quality=85)

    shown = Image.open(io.BytesIO(jpeg))
    assert (shown.format, shown.size, shown.mode) == ("JPEG", (10, 6), "RGB")
    assert abs(int(np.asarray(shown)[3, 5, 0]) - 200) <= 2
