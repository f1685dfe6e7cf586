"""Encodes a picture as JPEG, once for all viewers."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.camera.sources.source import BadPicture, Pixels

# Pillow's own advice: above 95 a file grows, and no eye sees why.
MIN_QUALITY = 1
MAX_QUALITY = 95

# What the JPEG format can say.
MAX_SIDE = 65535


def encode_jpeg(pixels: Pixels, quality: int = 85, bits: int = 16) -> bytes:
    """Encodes grey or RGB of 8 or 16 bits; raises BadPicture for anything else. Takes milliseconds: offload it."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise BadPicture("a picture must be grey or RGB")
    if not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= MAX_SIDE:
        raise BadPicture(f"a picture must have sides of 1 to {MAX_SIDE} pixels")
    with BytesIO() as file:
        Image.fromarray(np.ascontiguousarray(_eight_bits(pixels, bits))).save(file, "JPEG", quality=quality)
        return file.getvalue()


def _eight_bits(pixels: Pixels, bits: int) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8]
    if pixels.dtype == np.uint8:
        shown = pixels.astype(np.uint8, copy=False)
    elif pixels.dtype == np.uint16 and 8 <= bits <= 16:
        # A sensor that says 12 bits and sends more is clipped, not wrapped round to black.
        shown = np.minimum(pixels >> (bits - 8), 255).astype(np.uint8)
    else:
        raise BadPicture("a picture must have 8 or 16 bits a channel")
    return shown
