"""Packs the simulator's light into the bytes of each image type, with the mistakes of Octane's own converter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.octane.simulator.colour import convert, transfer
from actors.octane.simulator.scene import Floats
from protos import octane_types_pb2 as wire

# Light up to 4 has a place of its own in the table; the curve is flat above.
_STEPS, _WHITE = 16384, 4.0
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

_LDR, _FLOAT, _HALF = np.dtype("u1"), np.dtype("<f4"), np.dtype("<f2")
# Number type and channels of each image type that can be asked of the simulator.
_TYPES: dict[int, tuple[np.dtype[Any], int]] = {
    wire.IMAGE_TYPE_LDR_RGBA: (_LDR, 4),
    wire.IMAGE_TYPE_LDR_MONO: (_LDR, 1),
    wire.IMAGE_TYPE_LDR_MONO_ALPHA: (_LDR, 2),
    wire.IMAGE_TYPE_HDR_RGBA: (_FLOAT, 4),
    wire.IMAGE_TYPE_HDR_MONO: (_FLOAT, 1),
    wire.IMAGE_TYPE_HDR_MONO_ALPHA: (_FLOAT, 2),
    wire.IMAGE_TYPE_HALF_RGBA: (_HALF, 4),
    wire.IMAGE_TYPE_HALF_MONO: (_HALF, 1),
    wire.IMAGE_TYPE_HALF_MONO_ALPHA: (_HALF, 2),
}
# Bytes a pixel that Octane's converter takes these types to have; of all others it sends none.
_CONVERTED: dict[int, int] = {
    wire.IMAGE_TYPE_LDR_RGBA: 4,
    wire.IMAGE_TYPE_HDR_RGBA: 4,
    wire.IMAGE_TYPE_LDR_MONO_ALPHA: 2,
    wire.IMAGE_TYPE_HDR_MONO_ALPHA: 2,
}


@dataclass(frozen=True, slots=True)
class Tonemap:
    """What pictures are to be: setAsyncTonemapParams1, with what an Octane begins with."""

    buffer: int = wire.TONEMAP_BUFFER_TYPE_LDR
    space: int = wire.NAMED_COLOR_SPACE_SRGB
    cryptomatte_false_color: bool = True
    premultiplied: int = wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED


def _curve() -> NDArray[np.uint8]:
    """From linear light to bytes: a soft shoulder, then the sRGB transfer function."""
    light = _shoulder(np.linspace(0.0, _WHITE, _STEPS, dtype=np.float32))
    return (transfer(light) * 255 + 0.5).astype(np.uint8)


def _shoulder(light: Floats) -> Floats:
    ended: Floats = (1 - np.exp(-1.35 * light)).astype(np.float32)
    return ended


_CURVE = _curve()


def is_ldr(kind: int) -> bool:
    """Says whether an image type holds bytes, whose light has to end at white."""
    return _TYPES[kind][0] == _LDR


def image_type(buffer: int, *, mono: bool) -> int:
    """The image type of a tonemap buffer type: renders are RGBA, or grey with alpha."""
    types: dict[int, tuple[int, int]] = {
        wire.TONEMAP_BUFFER_TYPE_LDR: (wire.IMAGE_TYPE_LDR_RGBA, wire.IMAGE_TYPE_LDR_MONO_ALPHA),
        wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT: (wire.IMAGE_TYPE_HDR_RGBA, wire.IMAGE_TYPE_HDR_MONO_ALPHA),
        wire.TONEMAP_BUFFER_TYPE_HDR_HALF: (wire.IMAGE_TYPE_HALF_RGBA, wire.IMAGE_TYPE_HALF_MONO_ALPHA),
    }
    return types[buffer][mono]


def pack(light: Floats, alpha: Floats | None, kind: int, tonemap: Tonemap, pitch: int) -> bytes:
    """Linear light, which is written over, as the rows of an image type, each padded to the pitch in pixels."""
    dtype, channels = _TYPES[kind]
    height, width, _ = light.shape
    # The padding is loud on purpose: a client that takes the pitch for the width shows it at once.
    rows = np.empty((height, pitch, channels), dtype)
    rows[:, width:] = _as(np.array((1, 0, 1, 1)[:channels], np.float32), dtype)
    if dtype == _LDR and channels == 4 and alpha is None and tonemap.space == wire.NAMED_COLOR_SPACE_SRGB:
        light *= np.float32((_STEPS - 1) / _WHITE)
        np.clip(light, 0, _STEPS - 1, out=light)
        rows[:, :width, :3] = _CURVE[light.astype(np.uint16)]
        rows[:, :width, 3] = 255
        return rows.tobytes()
    colour = colour_of(light, alpha, kind, tonemap)
    if channels < 3:
        colour = (colour @ _LUMINANCE)[:, :, None]
    rows[:, :width, : colour.shape[2]] = _as(colour, dtype)
    if channels in (2, 4):
        rows[:, :width, -1:] = _as(np.ones((1, 1, 1), np.float32) if alpha is None else alpha, dtype)
    return rows.tobytes()


def colour_of(light: Floats, alpha: Floats | None, kind: int, tonemap: Tonemap) -> Floats:
    """Linear light in the colour space that was asked for, multiplied with alpha as was asked for."""
    if is_ldr(kind):
        light = _shoulder(np.maximum(light, 0))
    if alpha is not None and tonemap.premultiplied == wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED:
        light = light * alpha
    colour = convert(light, tonemap.space)
    if alpha is not None and tonemap.premultiplied == wire.PREMULTIPLIED_ALPHA_TYPE_ENCODED:
        colour = colour * alpha
    return colour


def as_converted(data: bytes, kind: int, pixels: int) -> bytes:
    """What Octane's own converter sends of a buffer: it forgets the size of a float, and knows no half floats."""
    return data[: pixels * _CONVERTED.get(kind, 0)]


def _as(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    return (np.clip(values, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8) if dtype == _LDR else values.astype(dtype)
