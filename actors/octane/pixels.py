"""Decodes the bytes of an ApiRenderImage into a picture: every image type, any pitch, any missing rows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.octane.errors import Unreadable
from protos import octane_types_pb2 as wire

# 2^28 pixels (16k x 16k): far more than fits the 64 MiB of one message, so a larger size is a broken one.
MAX_PIXELS = 1 << 28

_LINEAR = frozenset(
    {wire.NAMED_COLOR_SPACE_LINEAR_SRGB, wire.NAMED_COLOR_SPACE_ACES2065_1, wire.NAMED_COLOR_SPACE_ACESCG}
)


class Layout(NamedTuple):
    """How one pixel is stored in memory: the number type, and how many of them."""

    dtype: np.dtype[Any]
    channels: int

    @property
    def stride(self) -> int:
        """Bytes from one pixel to the next."""
        return self.dtype.itemsize * self.channels


_BYTE, _HALF, _FLOAT = np.dtype("u1"), np.dtype("<f2"), np.dtype("<f4")
LAYOUTS: dict[int, Layout] = {
    wire.IMAGE_TYPE_LDR_RGBA: Layout(_BYTE, 4),
    wire.IMAGE_TYPE_LDR_MONO: Layout(_BYTE, 1),
    wire.IMAGE_TYPE_LDR_MONO_ALPHA: Layout(_BYTE, 2),
    wire.IMAGE_TYPE_HDR_RGBA: Layout(_FLOAT, 4),
    wire.IMAGE_TYPE_HDR_MONO: Layout(_FLOAT, 1),
    wire.IMAGE_TYPE_HDR_MONO_ALPHA: Layout(_FLOAT, 2),
    wire.IMAGE_TYPE_HALF_RGBA: Layout(_HALF, 4),
    wire.IMAGE_TYPE_HALF_MONO: Layout(_HALF, 1),
    wire.IMAGE_TYPE_HALF_MONO_ALPHA: Layout(_HALF, 2),
}


def _transfer_table(size: int) -> NDArray[np.uint8]:
    """The sRGB transfer function, from `size` even steps of linear light to bytes."""
    linear = np.linspace(0.0, 1.0, size)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255.0 + 0.5).astype(np.uint8)


# 65536 steps: near black the curve climbs 12.92 bytes per 1/255, and a coarser table would show bands there.
_TRANSFER = _transfer_table(65536)
_TRANSFER_BYTES = _transfer_table(256)


@dataclass(frozen=True, slots=True)
class RenderPicture:
    """What one ApiRenderImage shows: contiguous bytes, RGB or (where the image has alpha) RGBA, first row on top."""

    pixels: NDArray[np.uint8]
    # Whole rows that arrived. Octane's own converter sends float pictures with a quarter of their rows.
    rows: int

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def short(self) -> bool:
        """Says whether bytes were missing; what is missing is black."""
        return self.rows < self.height


def decode(image: wire.ApiRenderImage) -> RenderPicture:
    """Decodes one image of a render result. Raises Unreadable."""
    layout = LAYOUTS.get(image.type)
    if layout is None:
        raise Unreadable(f"image type {image.type} is not one that renders come in")
    raw, rows = _unpad(image, layout)
    linear = image.isLinear or image.colorSpace in _LINEAR
    return RenderPicture(_display(raw, linear=linear, alpha=image.hasAlpha), rows)


def to_jpeg(picture: RenderPicture, quality: int) -> bytes:
    """Encodes a picture without its alpha."""
    out = io.BytesIO()
    # 4:2:0 and no optimisation pass: the sizes and times of a video frame, not of an archive.
    Image.fromarray(np.ascontiguousarray(picture.pixels[:, :, :3])).save(out, "JPEG", quality=quality, subsampling=2)
    return out.getvalue()


def _unpad(image: wire.ApiRenderImage, layout: Layout) -> tuple[NDArray[Any], int]:
    """Cuts the padding off each row, and says how many whole rows the buffer held."""
    width, height = image.size.x, image.size.y
    data = image.buffer.data
    if not width or not height:
        raise Unreadable("the image has no size: it lies on a surface of Octane's own graphics card")
    if width * height > MAX_PIXELS:
        raise Unreadable(f"a size of {width} x {height} cannot be right")
    if len(data) < layout.stride:
        raise Unreadable("the image carries no pixels")

    pitch = max(image.pitch, width)  # in pixels; servers that leave it out mean "no padding"
    values = np.frombuffer(data, layout.dtype, count=len(data) // layout.stride * layout.channels)
    pixels = values.reshape(-1, layout.channels)
    # The padding behind the last row may be missing: nothing of the picture is.
    rows = min(height, (len(pixels) + pitch - width) // pitch)
    if rows == height and len(pixels) >= height * pitch:
        return pixels[: height * pitch].reshape(height, pitch, layout.channels)[:, :width], height

    canvas = np.zeros((height, width, layout.channels), layout.dtype)
    padded = min(rows, len(pixels) // pitch)
    canvas[:padded] = pixels[: padded * pitch].reshape(padded, pitch, layout.channels)[:, :width]
    if padded < height:
        rest = pixels[padded * pitch :][:width]
        canvas[padded, : len(rest)] = rest
    return canvas, rows


def _display(raw: NDArray[Any], *, linear: bool, alpha: bool) -> NDArray[np.uint8]:
    """Turns raw channels of any type into RGB or RGBA bytes as a screen wants them."""
    height, width, channels = raw.shape
    colours = 3 if channels == 4 else 1
    out = np.empty((height, width, 4 if alpha and channels in (2, 4) else 3), np.uint8)
    # One colour channel is grey: it is written to all three.
    out[:, :, :3] = _encode(raw[:, :, :colours], linear=linear)
    if out.shape[2] == 4:
        out[:, :, 3] = _encode(raw[:, :, -1:], linear=False)[:, :, 0]
    return out


def _encode(values: NDArray[Any], *, linear: bool) -> NDArray[np.uint8]:
    """Maps one kind of channel to bytes; light above white, and what is no number, is clamped."""
    if values.dtype == np.uint8:
        return _TRANSFER_BYTES[values] if linear else values
    light = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(light, 0.0, 1.0, out=light)
    if linear:
        light *= 65535.0
        light += 0.5
        return _TRANSFER[light.astype(np.uint16)]
    # What the viewers of other makers do, to the bit: scale and cut.
    light *= 255.0
    return light.astype(np.uint8)
