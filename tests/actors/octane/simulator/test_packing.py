"""Tests of actors/octane/simulator/packing.py: the bytes of every image type, whole and as Octane's converter cuts them."""

from __future__ import annotations

import numpy as np
import pytest

from actors.octane.simulator.packing import Tonemap, as_converted, image_type, is_ldr, pack
from protos import octane_types_pb2 as wire

LIGHT = np.array([[[0.1, 0.5, 0.9], [2.0, 0.0, 0.3]]], np.float32)
LINEAR = Tonemap(space=wire.NAMED_COLOR_SPACE_LINEAR_SRGB)
LUMINANCE = [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(
    ("kind", "dtype", "channels"),
    [
        (wire.IMAGE_TYPE_HDR_RGBA, "<f4", 4),
        (wire.IMAGE_TYPE_HDR_MONO, "<f4", 1),
        (wire.IMAGE_TYPE_HDR_MONO_ALPHA, "<f4", 2),
        (wire.IMAGE_TYPE_HALF_RGBA, "<f2", 4),
        (wire.IMAGE_TYPE_HALF_MONO, "<f2", 1),
        (wire.IMAGE_TYPE_HALF_MONO_ALPHA, "<f2", 2),
    ],
)
def test_float_types_hold_the_light_as_it_is(kind, dtype, channels):
    rows = np.frombuffer(pack(LIGHT.copy(), None, kind, LINEAR, 3), dtype).reshape(1, 3, channels)

    colour = LIGHT if channels == 4 else (LIGHT @ LUMINANCE)[:, :, None]
    assert rows[:, :2, : colour.shape[2]] == pytest.approx(colour, rel=2e-3)
    if channels != 1:
        assert (rows[:, :2, -1] == 1).all()


@pytest.mark.parametrize(
    ("kind", "channels"),
    [(wire.IMAGE_TYPE_LDR_RGBA, 4), (wire.IMAGE_TYPE_LDR_MONO, 1), (wire.IMAGE_TYPE_LDR_MONO_ALPHA, 2)],
)
def test_bytes_end_at_white(kind, channels):
    rows = np.frombuffer(pack(LIGHT.copy(), None, kind, Tonemap(), 2), np.uint8).reshape(1, 2, channels)

    light = 1 - np.exp(-1.35 * LIGHT)
    colour = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    if channels < 3:
        colour = (colour @ LUMINANCE)[:, :, None]
    assert np.abs(rows[:, :, : colour.shape[2]] - colour).max() <= 1.5
    assert is_ldr(kind)


def test_light_is_multiplied_with_alpha_before_or_after_it_is_encoded_as_asked_for():
    alpha = np.full((1, 2, 1), 0.5, np.float32)
    kinds = {
        premultiplied: np.frombuffer(
            pack(LIGHT.copy(), alpha, wire.IMAGE_TYPE_HDR_RGBA, Tonemap(premultiplied=premultiplied), 2), "<f4"
        ).reshape(1, 2, 4)
        for premultiplied in wire.PremultipliedAlphaType.values()
    }

    straight = kinds[wire.PREMULTIPLIED_ALPHA_TYPE_NONE]
    assert kinds[wire.PREMULTIPLIED_ALPHA_TYPE_ENCODED][..., :3] == pytest.approx(straight[..., :3] * 0.5)
    # The transfer function bends, so half of the light is more than half of its code.
    assert (kinds[wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED][0, 0, :3] > straight[0, 0, :3] * 0.6).all()
    assert all((rows[..., 3] == 0.5).all() for rows in kinds.values())


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        (wire.IMAGE_TYPE_LDR_RGBA, 1.0),
        (wire.IMAGE_TYPE_LDR_MONO_ALPHA, 1.0),
        (wire.IMAGE_TYPE_HDR_RGBA, 0.25),
        (wire.IMAGE_TYPE_HDR_MONO_ALPHA, 0.25),
        (wire.IMAGE_TYPE_HALF_RGBA, 0.0),
        (wire.IMAGE_TYPE_LDR_MONO, 0.0),
    ],
)
def test_the_usual_converter_forgets_the_size_of_a_float(kind, kept):
    data = pack(LIGHT.copy(), None, kind, LINEAR, 4)

    assert len(as_converted(data, kind, 4)) == len(data) * kept


def test_renders_come_in_six_types():
    assert sorted(image_type(buffer, mono=mono) for buffer in range(3) for mono in (False, True)) == [0, 2, 4, 5, 6, 8]
