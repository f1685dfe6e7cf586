"""Decodes an ApiRenderImage into a picture: every image type, any pitch, any missing rows; without a copy where it can."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.octane.colour import is_linear
from actors.octane.errors import Unreadable
from protos import octane_types_pb2 as wire

# 2^26 pixels (8192 x 8192): what the 64 MiB of one message hold at one byte a pixel.
MAX_PIXELS = 1 << 26
# Octane's own converter sends a quarter of a float picture. A picture that lacks far more than that is no picture, and
# memory for it would be claimed by a few bytes.
MAX_PIXELS_PER_ARRIVED = 8


class PixelLayout(NamedTuple):
    """How one pixel is stored in memory: the number type, and how many of them."""

    dtype: np.dtype[Any]
    channels: int

    @property
    def stride(self) -> int:
        """Bytes from one pixel to the next."""
        return self.dtype.itemsize * self.channels


_BYTE, _HALF, _FLOAT = np.dtype("u1"), np.dtype("<f2"), np.dtype("<f4")
LAYOUTS: dict[int, PixelLayout] = {
    wire.IMAGE_TYPE_LDR_RGBA: PixelLayout(_BYTE, 4),
    wire.IMAGE_TYPE_LDR_MONO: PixelLayout(_BYTE, 1),
    wire.IMAGE_TYPE_LDR_MONO_ALPHA: PixelLayout(_BYTE, 2),
    wire.IMAGE_TYPE_HDR_RGBA: PixelLayout(_FLOAT, 4),
    wire.IMAGE_TYPE_HDR_MONO: PixelLayout(_FLOAT, 1),
    wire.IMAGE_TYPE_HDR_MONO_ALPHA: PixelLayout(_FLOAT, 2),
    wire.IMAGE_TYPE_HALF_RGBA: PixelLayout(_HALF, 4),
    wire.IMAGE_TYPE_HALF_MONO: PixelLayout(_HALF, 1),
    wire.IMAGE_TYPE_HALF_MONO_ALPHA: PixelLayout(_HALF, 2),
}


class Alpha(Enum):
    """Whether colours were multiplied with their alpha, and whether that was before the transfer function or after it."""

    STRAIGHT = wire.PREMULTIPLIED_ALPHA_TYPE_NONE
    LINEARISED = wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED
    ENCODED = wire.PREMULTIPLIED_ALPHA_TYPE_ENCODED


@dataclass(frozen=True, slots=True)
class RenderPicture:
    """What one ApiRenderImage shows, in the numbers that arrived: an array of rows, pixels and channels, top row first.

    Rows of `stored` may be longer than `width`: behind it lies the padding of the pitch.
    """

    stored: NDArray[Any]
    width: int
    # None: the picture is opaque, whatever its fourth channel says.
    alpha: Alpha | None
    # Whole rows that arrived; what is missing is black.
    rows: int
    color_space: int = wire.NAMED_COLOR_SPACE_SRGB
    linear: bool = False

    @property
    def height(self) -> int:
        return int(self.stored.shape[0])

    @property
    def short(self) -> bool:
        """Says whether rows are missing."""
        return self.rows < self.height

    @property
    def pixels(self) -> NDArray[Any]:
        """The stored numbers without the padding."""
        return self.stored[:, : self.width]


def decode(image: wire.ApiRenderImage) -> RenderPicture:
    """Decodes one image of a render result. Raises Unreadable."""
    layout = LAYOUTS.get(image.type)
    if layout is None:
        raise Unreadable(f"image type {image.type} is not one that renders come in")
    stored, rows = _rows(image, layout)
    linear = is_linear(image.colorSpace, image.isLinear)
    return RenderPicture(stored, image.size.x, _alpha(image, layout, linear), rows, image.colorSpace, linear)


def _alpha(image: wire.ApiRenderImage, layout: PixelLayout, linear: bool) -> Alpha | None:
    if not image.hasAlpha or layout.channels not in (2, 4):
        return None
    try:
        alpha = Alpha(image.premultipliedAlphaType)
    except ValueError:
        raise Unreadable(f"premultiplied alpha of type {image.premultipliedAlphaType} is unknown") from None
    # Linear light has no transfer function that could come first.
    return Alpha.LINEARISED if linear and alpha is Alpha.ENCODED else alpha


def _rows(image: wire.ApiRenderImage, layout: PixelLayout) -> tuple[NDArray[Any], int]:
    """The rows of an image, and how many of them arrived as a whole. Raises Unreadable before it takes memory for them."""
    width, height = image.size.x, image.size.y
    data = image.buffer.data  # read once: each access copies it
    if not width or not height:
        raise Unreadable("the image has no size: it lies on a surface of Octane's own graphics card")
    arrived = len(data) // layout.stride
    if not arrived:
        raise Unreadable("the image carries no pixels")
    if width * height > min(MAX_PIXELS, arrived * MAX_PIXELS_PER_ARRIVED):
        raise Unreadable(f"a size of {width} x {height} cannot be right: {arrived} pixels arrived")

    pitch = max(image.pitch, width)  # in pixels; servers that leave it out mean "no padding"
    values = np.frombuffer(data, layout.dtype, count=arrived * layout.channels)
    pixels = values.reshape(-1, layout.channels)
    if arrived >= height * pitch:
        return pixels[: height * pitch].reshape(height, pitch, layout.channels), height

    canvas = np.zeros((height, width, layout.channels), layout.dtype)
    padded = arrived // pitch
    canvas[:padded] = pixels[: padded * pitch].reshape(padded, pitch, layout.channels)[:, :width]
    rest = pixels[padded * pitch :][:width]
    canvas[padded, : len(rest)] = rest
    # The padding behind the last row may be missing: nothing of the picture is.
    return canvas, padded + (len(rest) == width)
