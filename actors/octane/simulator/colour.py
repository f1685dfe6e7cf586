"""Converts the simulator's light into the colour spaces that a client can ask for, by their primaries."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from actors.octane.simulator.scene import Floats
from protos import octane_types_pb2 as wire

_Matrix = NDArray[np.float64]
_Chromaticities = tuple[tuple[float, float], ...]

_D65, _ACES_WHITE, _EQUAL_ENERGY = (0.3127, 0.3290), (0.32168, 0.33767), (1 / 3, 1 / 3)
_SRGB: _Chromaticities = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_PRIMARIES: dict[int, tuple[_Chromaticities, tuple[float, float]]] = {
    wire.NAMED_COLOR_SPACE_ACES2065_1: (((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.077)), _ACES_WHITE),
    wire.NAMED_COLOR_SPACE_ACESCG: (((0.713, 0.293), (0.165, 0.830), (0.128, 0.044)), _ACES_WHITE),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

SPACES = frozenset({wire.NAMED_COLOR_SPACE_SRGB, wire.NAMED_COLOR_SPACE_LINEAR_SRGB, wire.NAMED_COLOR_SPACE_XYZ_E}) | {
    *_PRIMARIES
}


def is_linear(space: int) -> bool:
    """Says whether values of the space are proportional to light."""
    return space != wire.NAMED_COLOR_SPACE_SRGB


def convert(light: Floats, space: int) -> Floats:
    """Linear sRGB light in another space; in sRGB itself it goes through the transfer function."""
    if space == wire.NAMED_COLOR_SPACE_SRGB:
        return transfer(light)
    if space == wire.NAMED_COLOR_SPACE_LINEAR_SRGB:
        return light
    return (light @ matrix(space).T.astype(np.float32)).astype(np.float32, copy=False)


def transfer(light: Floats) -> Floats:
    """The sRGB transfer function; light above white stays above 1."""
    light = np.maximum(light, 0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


@functools.cache
def matrix(space: int) -> _Matrix:
    """From linear sRGB to a space, with white adapted so that white stays white."""
    to_xyz = _to_xyz(_SRGB, _D65)
    if space == wire.NAMED_COLOR_SPACE_XYZ_E:
        return _adapt(_D65, _EQUAL_ENERGY) @ to_xyz
    primaries, white = _PRIMARIES[space]
    result: _Matrix = np.linalg.inv(_to_xyz(primaries, white)) @ _adapt(_D65, white) @ to_xyz
    return result


def _white(chromaticity: tuple[float, float]) -> _Matrix:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_xyz(primaries: _Chromaticities, white: tuple[float, float]) -> _Matrix:
    columns = np.array([[x, y, 1 - x - y] for x, y in primaries]).T
    result: _Matrix = columns * np.linalg.solve(columns, _white(white))
    return result


def _adapt(source: tuple[float, float], target: tuple[float, float]) -> _Matrix:
    gain = (_BRADFORD @ _white(target)) / (_BRADFORD @ _white(source))
    result: _Matrix = np.linalg.inv(_BRADFORD) @ np.diag(gain) @ _BRADFORD
    return result
