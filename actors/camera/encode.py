"""Encodes pictures as JPEG and PNG: JPEG through libjpeg-turbo (simplejpeg) where it is installed, else through Pillow.

All functions take milliseconds and more: offload them.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.camera.sources.source import BadPicture, Pixels

try:
    import simplejpeg
except ImportError:  # no wheel for this machine: Pillow takes twice as long
    simplejpeg = None

Planar = tuple[NDArray[np.uint8], ...]

# Pillow's own advice: above 95 a file grows, and no eye sees why.
MIN_QUALITY = 1
MAX_QUALITY = 95

# What the JPEG format can say.
MAX_SIDE = 65535


def encode_jpeg(pixels: Pixels, quality: int = 85, bits: int = 16) -> bytes:
    """Encodes grey or RGB of 8 or 16 bits; raises BadPicture for anything else."""
    shown = eight_bits(pixels, bits)
    if not simplejpeg:
        return _saved(Image.fromarray(shown), quality)
    if shown.ndim == 2:
        return bytes(
            simplejpeg.encode_jpeg(shown[:, :, np.newaxis], quality, colorspace="GRAY", colorsubsampling="Gray")
        )
    return bytes(simplejpeg.encode_jpeg(shown, quality, colorspace="RGB", colorsubsampling="420"))


def encode_planes(planes: Planar, quality: int = 85) -> bytes:
    """Encodes the Y, U and V planes of a picture, full range BT.601, chroma with half of each side, rounded up."""
    if simplejpeg:
        return bytes(simplejpeg.encode_jpeg_yuv_planes(*map(np.ascontiguousarray, planes), quality=quality))
    y, *chromas = planes
    u, v = (chroma.repeat(2, axis=0).repeat(2, axis=1)[: y.shape[0], : y.shape[1]] for chroma in chromas)
    return _saved(Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(plane)) for plane in (y, u, v)]), quality)


def encode_png(pixels: Pixels, bits: int = 16) -> bytes:
    """Encodes grey or RGB of 8 or 16 bits without loss of what is shown; raises BadPicture for anything else."""
    with BytesIO() as file:
        # Level 1 takes a third of the time of the usual one and gives a tenth more bytes.
        Image.fromarray(eight_bits(pixels, bits)).save(file, "PNG", compress_level=1)
        return file.getvalue()


def eight_bits(pixels: Pixels, bits: int = 16) -> NDArray[np.uint8]:
    """The picture in 8 bits, contiguous: (h, w) or (h, w, 3). Raises BadPicture for what is no picture."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise BadPicture("a picture must be grey or RGB")
    if not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= MAX_SIDE:
        raise BadPicture(f"a picture must have sides of 1 to {MAX_SIDE} pixels")
    shown: NDArray[np.uint8]
    if pixels.dtype == np.uint8:
        shown = pixels.astype(np.uint8, copy=False)
    elif pixels.dtype == np.uint16 and 8 <= bits <= 16:
        # A sensor that says 12 bits and sends more is clipped, not wrapped round to black.
        shown = np.minimum(pixels >> (bits - 8), 255).astype(np.uint8)
    else:
        raise BadPicture("a picture must have 8 or 16 bits a channel")
    return np.ascontiguousarray(shown)


def _saved(image: Image.Image, quality: int) -> bytes:
    with BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        return file.getvalue()
