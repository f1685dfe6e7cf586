"""Converts the colours of a render result: transfer functions, and matrices from Octane's named colour spaces to sRGB."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protos import octane_types_pb2 as wire

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Chromaticity = tuple[float, float]


class Primaries(NamedTuple):
    """The CIE 1931 xy chromaticities of a colour space's red, green, blue and white."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity


# IEC 61966-2-1.
SRGB = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
# SMPTE ST 2065-1 (AP0) and Academy S-2014-004 (AP1); both have the ACES white point.
ACES2065_1 = Primaries((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.0770), (0.32168, 0.33767))
ACESCG = Primaries((0.713, 0.293), (0.165, 0.830), (0.128, 0.044), (0.32168, 0.33767))
# CIE XYZ itself, with the equal-energy illuminant E as white.
XYZ_E = Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))

_SPACES = {
    wire.NAMED_COLOR_SPACE_ACES2065_1: ACES2065_1,
    wire.NAMED_COLOR_SPACE_ACESCG: ACESCG,
    wire.NAMED_COLOR_SPACE_XYZ_E: XYZ_E,
}

# The Bradford cone responses, as in ICC.1:2022, annex E.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _xyz(point: Chromaticity) -> Matrix:
    """The tristimulus values of a chromaticity, with Y = 1 (or X + Y + Z = 1 where y is 0)."""
    x, y = point
    return np.array([x, y, 1 - x - y]) / (y or 1.0)


def to_xyz(space: Primaries) -> Matrix:
    """The matrix from linear RGB of a colour space to CIE XYZ: RGB (1, 1, 1) becomes the white with Y = 1."""
    columns = np.stack([_xyz(space.red), _xyz(space.green), _xyz(space.blue)], axis=1)
    scaled: Matrix = columns * np.linalg.solve(columns, _xyz(space.white))
    return scaled


def adaptation(source: Chromaticity, target: Chromaticity) -> Matrix:
    """The matrix that adapts CIE XYZ from one white point to another by the method of Bradford."""
    gains = (_BRADFORD @ _xyz(target)) / (_BRADFORD @ _xyz(source))
    matrix: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD
    return matrix


def to_srgb(space: Primaries) -> Matrix:
    """The matrix from linear RGB of a colour space to linear sRGB; white becomes white."""
    matrix: Matrix = np.linalg.inv(to_xyz(SRGB)) @ adaptation(space.white, SRGB.white) @ to_xyz(space)
    return matrix


# Colour space → its matrix to linear sRGB; those that are not listed have the primaries of sRGB, or none that are known.
MATRICES: dict[int, Floats] = {number: to_srgb(space).astype(np.float32) for number, space in _SPACES.items()}


def is_linear(color_space: int, flag: bool) -> bool:
    """Says whether values are linear light. Some servers leave the flag out, and these spaces have no other encoding."""
    return flag or color_space == wire.NAMED_COLOR_SPACE_LINEAR_SRGB or color_space in _SPACES


def encode(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """The sRGB transfer function, from linear light 0 to 1 to encoded values 0 to 1."""
    light = np.asarray(light, np.float64)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def linearise(encoded: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inverse of the sRGB transfer function."""
    encoded = np.asarray(encoded, np.float64)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4)


# 65536 steps: so fine that at most one of the thresholds below lies within a step.
_STEPS = 65536
# The light from which on a byte is the next one up; behind the last there is none.
_THRESHOLDS = np.append(linearise((np.arange(255) + 0.5) / 255), np.inf).astype(np.float32)
_LOWER = np.searchsorted(_THRESHOLDS, np.arange(_STEPS, dtype=np.float32) / (_STEPS - 1), side="right").astype(np.uint8)
# The linear light of each byte.
LINEAR_OF_BYTE = linearise(np.arange(256) / 255).astype(np.float32)
_ENCODED_BYTES = (encode(np.arange(256) / 255) * 255 + 0.5).astype(np.uint8)


def clean(values: NDArray[np.floating]) -> Floats:
    """A copy in float32, without values that are no numbers; infinite light is white."""
    return np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=1.0, neginf=0.0)


def display_bytes(light: Floats) -> Bytes:
    """Encodes linear light as sRGB bytes, rounded to the nearest; what is beyond black and white is clipped."""
    light = np.clip(light, 0.0, 1.0)
    byte = _LOWER[(light * np.float32(_STEPS - 1)).astype(np.uint16)]
    return byte + (light >= _THRESHOLDS[byte])


def truncated_bytes(values: Floats) -> Bytes:
    """Scales encoded values to bytes as Octane's own viewers do: clipped, and cut off instead of rounded."""
    return (np.clip(values, 0.0, 1.0) * np.float32(255)).astype(np.uint8)


def encoded_bytes(linear: Bytes) -> Bytes:
    """Encodes bytes of linear light as sRGB bytes."""
    return _ENCODED_BYTES[linear]
