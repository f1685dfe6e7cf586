"""Turns a decoded picture into what a screen or a file wants: sRGB bytes or linear light, over a background or with alpha.

Work goes in bands of rows: the numbers in between take several times the memory of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.octane.colour import (
    LINEAR_OF_BYTE,
    MATRICES,
    Bytes,
    Floats,
    clean,
    display_bytes,
    encode,
    encoded_bytes,
    linearise,
    truncated_bytes,
)
from actors.octane.pixels import Alpha, RenderPicture

# 2^17 pixels: their floats fit a processor's caches.
_BAND_PIXELS = 1 << 17
# The squares of the checker, in pixels, and their two greys as image editors show them.
CHECKER_SIZE = 16
CHECKER = (0.6, 0.8)


def display(picture: RenderPicture, background: str | None) -> Bytes:
    """Rows of four bytes a pixel as a screen wants them: red, green, blue in sRGB, and one that says nothing.

    Without a background, and where the picture has alpha, the fourth is the alpha, and colours are not multiplied with it.
    Rows may be longer than the picture is wide: where the bytes that arrived will do, they are not copied.
    """
    if _shows_as_stored(picture, background):
        return picture.stored
    out = np.empty((picture.height, picture.width, 4), np.uint8)
    for top, band in _bands(picture):
        out[top : top + band.height] = _display_band(band, background, top)
    return out


def light(picture: RenderPicture, background: str | None) -> Floats:
    """Linear light with the primaries of sRGB: three numbers a pixel, over the background.

    Without a background, and where the picture has alpha, there are four, and colours are multiplied with their alpha.
    """
    channels = 4 if background is None and picture.alpha else 3
    out = np.empty((picture.height, picture.width, channels), np.float32)
    for top, band in _bands(picture):
        out[top : top + band.height] = _light_band(band, background, top)
    return out


def deep(values: Floats) -> NDArray[np.uint16]:
    """Encodes what `light` gives as 16 bits in sRGB; colours are no longer multiplied with their alpha."""
    out = np.empty(values.shape, np.uint16)
    rows = max(1, _BAND_PIXELS // values.shape[1])
    for top in range(0, len(values), rows):
        band = values[top : top + rows]
        if values.shape[2] == 4:
            alpha = np.clip(band[:, :, 3:], 0.0, 1.0)
            band = np.concatenate([_divided(band[:, :, :3], alpha), linearise(alpha)], axis=2)
        out[top : top + rows] = encode(np.clip(band, 0.0, 1.0)) * 65535 + 0.5
    return out


def _shows_as_stored(picture: RenderPicture, background: str | None) -> bool:
    stored, alpha = picture.stored, picture.alpha
    if stored.dtype != np.uint8 or stored.shape[2] != 4 or picture.linear:
        return False
    # What was multiplied with its alpha is over black already.
    return alpha is None or (background == "black" and alpha is not Alpha.STRAIGHT)


def _bands(picture: RenderPicture) -> Iterator[tuple[int, RenderPicture]]:
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        yield top, replace(picture, stored=picture.pixels[top : top + rows])


def _display_band(band: RenderPicture, background: str | None, top: int) -> Bytes:
    out = np.full((band.height, band.width, 4), 255, np.uint8)
    # One colour channel is grey: it is written to all three.
    if band.alpha is None:
        out[:, :, :3] = _opaque(band)
        return out
    alpha = _alpha(band)
    if background is not None:
        if band.alpha is Alpha.ENCODED:
            out[:, :, :3] = _rounded(_encoded(band) + (1 - alpha) * _behind(background, band, top))
        else:
            out[:, :, :3] = display_bytes(_light_band(band, background, top))
        return out
    if band.alpha is Alpha.STRAIGHT:
        out[:, :, :3] = _opaque(band)
    elif band.alpha is Alpha.ENCODED:
        out[:, :, :3] = _rounded(_divided(_encoded(band), alpha))
    else:
        out[:, :, :3] = display_bytes(_divided(_linear(band), alpha))
    out[:, :, 3:] = _rounded(alpha)
    return out


def _light_band(band: RenderPicture, background: str | None, top: int) -> Floats:
    if band.alpha is None:
        return _linear(band)
    alpha = _alpha(band)
    if band.alpha is Alpha.ENCODED:
        if background is not None:
            return _of_encoded(_encoded(band) + (1 - alpha) * _behind(background, band, top))
        colours = _of_encoded(_divided(_encoded(band), alpha)) * alpha
    else:
        colours = _linear(band) if band.alpha is Alpha.LINEARISED else _linear(band) * alpha
        if background is not None:
            return colours + (1 - alpha) * _of_encoded(_behind(background, band, top))
    return np.concatenate([np.broadcast_to(colours, (*colours.shape[:2], 3)), alpha], axis=2)


def _colours(band: RenderPicture) -> NDArray[Any]:
    """The channels without alpha: three, or one that is grey."""
    return band.pixels[:, :, : 3 if band.pixels.shape[2] == 4 else 1]


def _alpha(band: RenderPicture) -> Floats:
    values = band.pixels[:, :, -1:]
    return _fraction(values) if values.dtype == np.uint8 else np.clip(clean(values), 0.0, 1.0)


def _opaque(band: RenderPicture) -> Bytes:
    """The colours as bytes in sRGB; nothing else is done to them."""
    values = _colours(band)
    if values.dtype == np.uint8 and not _matrix_of(band):
        return encoded_bytes(values) if band.linear else values
    return display_bytes(_linear(band)) if band.linear else truncated_bytes(clean(values))


def _encoded(band: RenderPicture) -> Floats:
    """The colours as encoded values in sRGB, 0 to 1."""
    values = _colours(band)
    return _fraction(values) if values.dtype == np.uint8 else clean(values)


def _linear(band: RenderPicture) -> Floats:
    """The colours as linear light with the primaries of sRGB."""
    values = _colours(band)
    if values.dtype == np.uint8:
        found = _fraction(values) if band.linear else LINEAR_OF_BYTE[values]
    else:
        found = clean(values) if band.linear else _of_encoded(clean(values))
    matrix = _matrix_of(band)
    return matrix(found) if matrix else found


def _matrix_of(band: RenderPicture) -> Callable[[Floats], Floats] | None:
    matrix = MATRICES.get(band.color_space)
    # White is white in every colour space, so grey needs no conversion.
    if matrix is None or band.pixels.shape[2] != 4:
        return None
    return lambda values: (values.reshape(-1, 3) @ matrix.T).reshape(values.shape)


def _fraction(values: Bytes) -> Floats:
    found: Floats = np.divide(values, 255, dtype=np.float32)
    return found


def _of_encoded(values: Floats) -> Floats:
    return linearise(values).astype(np.float32)


def _divided(colours: Floats, alpha: Floats) -> Floats:
    """Takes the alpha out of colours that were multiplied with it; where nothing is seen they are black."""
    return np.where(alpha > 0, colours / np.where(alpha > 0, alpha, 1), 0).astype(np.float32)


def _rounded(values: Floats) -> Bytes:
    return (np.clip(values, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _behind(background: str, band: RenderPicture, top: int) -> Floats:
    """The background's greys, in encoded values 0 to 1, as far as a band covers it."""
    if background != "checker":
        return np.full((1, 1, 1), float(background == "white"), np.float32)
    down = np.arange(top, top + band.height)[:, None] // CHECKER_SIZE
    across = np.arange(band.width)[None, :] // CHECKER_SIZE
    greys: Floats = np.array(CHECKER, np.float32)[(down + across) % 2][:, :, None]
    return greys
