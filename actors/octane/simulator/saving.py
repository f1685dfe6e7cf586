"""Saves a simulated render to a file, in the formats that the wire names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.octane.simulator.packing import Tonemap, colour_of
from actors.octane.simulator.scene import Floats
from protos import octane_types_pb2 as wire

# Pillow's names, for 8 bits.
_BYTES: dict[int, str] = {
    wire.IMAGE_SAVE_FORMAT_PNG_8: "PNG",
    wire.IMAGE_SAVE_FORMAT_TIFF_8: "TIFF",
    wire.IMAGE_SAVE_FORMAT_JPEG: "JPEG",
}
# FFmpeg's names of codec and pixels, for 16 bits.
_WORDS: dict[int, tuple[str, str]] = {
    wire.IMAGE_SAVE_FORMAT_PNG_16: ("png", "rgb48be"),
    wire.IMAGE_SAVE_FORMAT_TIFF_16: ("tiff", "rgb48le"),
}
_EXR: dict[int, str] = {wire.IMAGE_SAVE_FORMAT_EXR_16: "half", wire.IMAGE_SAVE_FORMAT_EXR_32: "float"}


class SaveRefused(Exception):
    """a picture that the simulator does not save"""


def save(directory: Path | None, request: Any, light: Floats, alpha: Floats | None) -> None:
    """Writes a picture to where saveImage1 asks, below `directory`. Raises SaveRefused or OSError."""
    if directory is None:
        raise SaveRefused("the simulator was given no directory to save to (--save-directory)")
    root = directory.resolve()
    path = (root / request.fullPath).resolve()
    if not request.fullPath or not path.is_relative_to(root):
        raise SaveRefused(f"the simulator saves only below {root}")
    exr = request.imageSaveFormat in _EXR
    # Light ends at white in all formats but EXR.
    kind = wire.IMAGE_TYPE_HDR_RGBA if exr else wire.IMAGE_TYPE_LDR_RGBA
    tonemap = Tonemap(space=request.colorSpace, premultiplied=request.premultipliedAlphaType)
    colour = colour_of(light, alpha, kind, tonemap)
    data = _exr(colour, request.imageSaveFormat) if exr else None
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        path.write_bytes(data)
    elif request.imageSaveFormat in _BYTES:
        pixels = (np.clip(colour, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
        if alpha is not None and request.imageSaveFormat != wire.IMAGE_SAVE_FORMAT_JPEG:
            pixels = np.concatenate([pixels, (alpha * 255 + np.float32(0.5)).astype(np.uint8)], axis=2)
        Image.fromarray(pixels).save(path, _BYTES[request.imageSaveFormat])
    else:
        codec, pixel_format = _WORDS[request.imageSaveFormat]
        words = (np.clip(colour, 0, 1) * 65535 + np.float32(0.5)).astype(np.uint16)
        path.write_bytes(_encode(codec, av.VideoFrame.from_ndarray(words, pixel_format)))


def _exr(colour: Floats, save_format: int) -> bytes:
    # FFmpeg's planes run green, blue, red.
    planes: NDArray[np.float32] = np.ascontiguousarray(colour, np.float32)
    return _encode("exr", av.VideoFrame.from_ndarray(planes, "gbrpf32le"), {"format": _EXR[save_format]})


def _encode(codec: str, frame: av.VideoFrame, options: dict[str, str] | None = None) -> bytes:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base = Fraction(1)
    encoder.options = options or {}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
