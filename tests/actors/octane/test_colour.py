"""Colours of Octane's named colour spaces become sRGB by their primaries and white points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.octane.colour import (
    ACES2065_1,
    ACESCG,
    LINEAR_OF_BYTE,
    SRGB,
    XYZ_E,
    adaptation,
    display_bytes,
    encode,
    is_linear,
    linearise,
    to_srgb,
    to_xyz,
    truncated_bytes,
)
from protos import octane_types_pb2 as wire


def test_the_matrix_of_srgb_is_the_one_that_its_standard_prints():
    printed = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]

    assert np.allclose(to_xyz(SRGB), printed, atol=6e-5)


def test_the_matrix_of_aces2065_is_the_one_that_its_standard_prints():
    printed = [[0.9525523959, 0.0, 0.0000936786], [0.3439664498, 0.7281660966, -0.0721325464], [0.0, 0.0, 1.0088251844]]

    assert np.allclose(to_xyz(ACES2065_1), printed, atol=1e-9)


def test_xyz_is_itself():
    assert np.allclose(to_xyz(XYZ_E), np.eye(3), atol=1e-12)


def test_the_matrix_of_acescg_is_the_one_that_renderers_use():
    # Printed in many places, as in the OCIO configurations: AP1 to linear Rec.709 over D65, adapted by Bradford.
    printed = [[1.70505, -0.62179, -0.08326], [-0.13026, 1.14080, -0.01055], [-0.02400, -0.12897, 1.15297]]

    assert np.allclose(to_srgb(ACESCG), printed, atol=2e-5)


@pytest.mark.parametrize("space", [SRGB, ACES2065_1, ACESCG, XYZ_E])
def test_white_stays_white_in_every_colour_space(space):
    assert np.allclose(to_srgb(space) @ np.ones(3), 1, atol=1e-9)


def test_adapting_to_another_white_point_and_back_changes_nothing():
    there, back = adaptation((0.3127, 0.329), (1 / 3, 1 / 3)), adaptation((1 / 3, 1 / 3), (0.3127, 0.329))

    assert np.allclose(back @ there, np.eye(3))


@given(st.floats(0, 1))
def test_the_transfer_function_and_its_inverse_undo_one_another(value):
    assert float(linearise(encode(np.array(value)))) == pytest.approx(value, abs=2e-7)


@given(st.lists(st.floats(-0.5, 1.5, width=32), min_size=1, max_size=50))
def test_light_is_rounded_to_the_nearest_byte(light):
    values = np.array(light, np.float32)

    exact = encode(np.clip(values.astype(np.float64), 0, 1)) * 255

    assert np.abs(display_bytes(values) - exact).max() <= 0.5 + 1e-4


def test_every_byte_is_found_again_from_its_light():
    assert np.array_equal(display_bytes(LINEAR_OF_BYTE), np.arange(256))


def test_values_that_are_encoded_already_are_cut_off_as_octane_s_viewers_do():
    assert truncated_bytes(np.array([-1, 0, 0.5, 0.999, 1, 3], np.float32)).tolist() == [0, 0, 127, 254, 255, 255]


def test_a_colour_space_without_another_encoding_is_linear_whatever_the_flag_says():
    linear = [space for space in wire.NamedColorSpace.values() if is_linear(space, False)]

    assert linear == [
        wire.NAMED_COLOR_SPACE_LINEAR_SRGB,
        wire.NAMED_COLOR_SPACE_ACES2065_1,
        wire.NAMED_COLOR_SPACE_ACESCG,
        wire.NAMED_COLOR_SPACE_XYZ_E,
    ]
    assert is_linear(wire.NAMED_COLOR_SPACE_SRGB, True)
