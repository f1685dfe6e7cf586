"""Tests of actors/octane/simulator/colour.py, against the published matrices of each space."""

from __future__ import annotations

import numpy as np
import pytest

from actors.octane.simulator.colour import SPACES, convert, is_linear, matrix
from protos import octane_types_pb2 as wire

LINEAR = sorted(SPACES - {wire.NAMED_COLOR_SPACE_SRGB, wire.NAMED_COLOR_SPACE_LINEAR_SRGB})


@pytest.mark.parametrize("space", sorted(SPACES))
def test_white_is_white_in_every_space(space):
    white = np.ones((1, 1, 3), np.float32)

    assert convert(white, space)[0, 0] == pytest.approx([1, 1, 1], abs=2e-4)


def test_acescg_and_aces2065_are_as_published():
    # Of the ACES project, for Bradford-adapted white.
    assert matrix(wire.NAMED_COLOR_SPACE_ACESCG) == pytest.approx(
        np.array([[0.6131, 0.3395, 0.0474], [0.0702, 0.9164, 0.0134], [0.0206, 0.1096, 0.8698]]), abs=6e-4
    )
    assert matrix(wire.NAMED_COLOR_SPACE_ACES2065_1) == pytest.approx(
        np.array([[0.4396, 0.3830, 0.1774], [0.0898, 0.8134, 0.0968], [0.0175, 0.1116, 0.8709]]), abs=6e-4
    )


def test_the_transfer_function_is_srgbs():
    light = np.array([[[0.0, 0.0031308, 0.18], [0.5, 1.0, 4.0]]], np.float32)

    encoded = convert(light, wire.NAMED_COLOR_SPACE_SRGB)[0]

    assert encoded[0] == pytest.approx([0.0, 0.04045, 0.46135], abs=1e-4)
    assert encoded[1] == pytest.approx([0.73536, 1.0, 1.82484], abs=1e-4)


@pytest.mark.parametrize("space", LINEAR)
def test_linear_spaces_keep_sums_of_light(space):
    one, other = (np.array([[light]], np.float32) for light in ((0.2, 0.7, 0.1), (0.5, 0.1, 0.9)))

    assert convert(one + other, space) == pytest.approx(convert(one, space) + convert(other, space), abs=1e-6)
    assert is_linear(space) and not is_linear(wire.NAMED_COLOR_SPACE_SRGB)
