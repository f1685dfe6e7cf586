"""Tells a picture that a source gave again from a new one, for a fraction of what its encoding costs."""

from __future__ import annotations

import numpy as np

from actors.camera.sources.source import Grabbed, Packet, Picture, Pixels

# One row of so many is looked at before all are: of two pictures of a moving scene that is enough.
_ROWS = 16


def is_repeat(picture: Grabbed, before: Grabbed) -> bool:
    """Whether a picture shows what the one before it showed, bit by bit."""
    if isinstance(picture, Packet):
        # Two equal packets of H.264 are two pictures: each changes the one before it.
        return picture.codec == "jpeg" and isinstance(before, Packet) and picture.data == before.data
    if not picture.fresh:
        return True
    if isinstance(picture, Picture):
        return isinstance(before, Picture) and picture.bits == before.bits and _same(picture.pixels, before.pixels)
    return not isinstance(before, (Picture, Packet)) and picture.frame is before.frame


def _same(pixels: Pixels, before: Pixels) -> bool:
    if pixels is before:
        return True
    if pixels.shape != before.shape or pixels.dtype != before.dtype:
        return False
    step = max(1, pixels.shape[0] // _ROWS)
    return np.array_equal(pixels[::step], before[::step]) and np.array_equal(_words(pixels), _words(before))


def _words(pixels: Pixels) -> np.ndarray:
    """The same bytes in words of eight where they can be seen so: compared in a quarter of the time."""
    flat = pixels.reshape(-1) if pixels.flags.c_contiguous else pixels
    return flat.view(np.uint64) if flat.ndim == 1 and flat.nbytes % 8 == 0 else flat
