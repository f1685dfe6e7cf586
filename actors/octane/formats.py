"""Encodes a picture in the renditions that are asked for, each once; scaled ones share their halvings."""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.octane.colour import Floats
from actors.octane.compositing import deep, display, light
from actors.octane.errors import Unreadable
from actors.octane.pixels import RenderPicture
from router.rendition import WIDTHS, Rendition

# What the file formats hold, in pixels a side.
MAX_SIDE = {"jpeg": 65_500, "webp": 16_383}
# 2^24 pixels (4096 x 4096) of 16 bytes each, and as much again while they are encoded.
MAX_DEEP_PIXELS = 1 << 24
# 4K: 33 MB, which each edge process and viewer is sent for each picture.
MAX_RAW_PIXELS = 3840 * 2160


@dataclass(frozen=True, slots=True)
class EncodedRendition:
    """One rendition of a picture: the bytes of a file, and the size in pixels that it has."""

    body: bytes
    width: int
    height: int


class Ladder:
    """The renditions of one picture. Takes milliseconds to a second each, so it is for threads, and safe between them."""

    def __init__(self, picture: RenderPicture, quality: int) -> None:
        self.picture = picture
        self._quality = quality
        # Background → the picture in full, in half, in a quarter …
        self._halvings: dict[str | None, list[Image.Image]] = {}
        self._made: dict[Rendition, EncodedRendition] = {}
        self._lock = threading.Lock()

    def make(self, rendition: Rendition) -> EncodedRendition:
        """Encodes a rendition, or gives it again. Raises Unreadable where the file format cannot hold the picture."""
        with self._lock:
            made = self._made.get(rendition)
            if made is None:
                encode = self._deep if rendition.format in ("png16", "exr") else self._shallow
                made = self._made[rendition] = encode(rendition)
            return made

    def _shallow(self, rendition: Rendition) -> EncodedRendition:
        """Encodes bytes a channel."""
        image = self._scaled(rendition)
        side = MAX_SIDE.get(rendition.format)
        if side is not None and max(image.size) > side:
            raise Unreadable(f"{image.width} x {image.height} pixels are more than a {rendition.format} can hold")
        out = io.BytesIO()
        match rendition.format:
            case "jpeg":
                # 4:2:0 and no optimisation pass: the sizes and times of a video frame, not of an archive.
                image.save(out, "JPEG", quality=self._quality, subsampling=2)
            case "webp":
                # The quickest of the lossless ways; the slower ones save a tenth.
                _plain(image).save(out, "WEBP", lossless=True, quality=0, method=0, exact=True)
            case "rgba":
                out.write(_raw(image))
            case _:
                _plain(image).save(out, "PNG", compress_level=1)
        return EncodedRendition(out.getvalue(), image.width, image.height)

    def _scaled(self, rendition: Rendition) -> Image.Image:
        """The picture as wide as asked for, never wider than it is."""
        background = rendition.background if self.picture.alpha else "black"
        steps = self._halvings.setdefault(background, [])
        if not steps:
            steps.append(self._whole(background))
        width = _raw_width(self.picture, rendition.width) if rendition.format == "rgba" else rendition.width
        if width is None or width >= steps[0].width:
            return steps[0]
        step = 0
        while (steps[step].width + 1) // 2 >= width:
            step += 1
            if step == len(steps):
                steps.append(steps[-1].reduce(2))
        image = steps[step]
        return image if image.width == width else image.resize(_size(self.picture, width), Image.Resampling.BILINEAR)

    def _whole(self, background: str | None) -> Image.Image:
        """The picture in full as Pillow sees it: the bytes that arrived, where they need no conversion."""
        rows = np.ascontiguousarray(display(self.picture, background))
        mode = "RGBX" if background is not None else "RGBA"
        size = self.picture.width, self.picture.height
        return Image.frombuffer(mode, size, rows, "raw", mode, rows.strides[0], 1)

    def _deep(self, rendition: Rendition) -> EncodedRendition:
        """Encodes more than bytes a channel: 16 bits in sRGB, or floats of linear light."""
        if self.picture.width * self.picture.height > MAX_DEEP_PIXELS:
            raise Unreadable(f"the picture is too large for {rendition.format}")
        values = light(self.picture, rendition.background)
        if rendition.width is not None and rendition.width < self.picture.width:
            values = _resized(values, _size(self.picture, rendition.width))
        height, width, channels = values.shape
        if rendition.format == "exr":
            body = _by_ffmpeg("exr", values, "gbrapf32le" if channels == 4 else "gbrpf32le", compression="zip16")
        else:
            body = _by_ffmpeg("png", deep(values), "rgba64be" if channels == 4 else "rgb48be", compression_level="1")
        return EncodedRendition(body, width, height)


def _plain(image: Image.Image) -> Image.Image:
    """Drops a fourth channel that says nothing."""
    return image.convert("RGB") if image.mode == "RGBX" else image


def _raw(image: Image.Image) -> bytes:
    """Four bytes a pixel; opaque where the fourth channel says nothing."""
    if image.mode != "RGBX":
        return image.tobytes()
    rows = np.array(image)
    rows[:, :, 3] = 255
    return rows.tobytes()


def _raw_width(picture: RenderPicture, width: int | None) -> int | None:
    """The width that is asked for, or the next smaller one at which a picture is not too large to be sent without compression."""
    if math.prod(_size(picture, min(width or picture.width, picture.width))) <= MAX_RAW_PIXELS:
        return width
    return next((each for each in reversed(WIDTHS) if math.prod(_size(picture, each)) <= MAX_RAW_PIXELS), WIDTHS[0])


def _size(picture: RenderPicture, width: int) -> tuple[int, int]:
    return width, max(1, round(picture.height * width / picture.width))


def _resized(values: Floats, size: tuple[int, int]) -> Floats:
    """Scales each channel; Pillow has no pictures of several floats."""
    channels = [Image.fromarray(np.ascontiguousarray(values[:, :, n])) for n in range(values.shape[2])]
    return np.stack([np.asarray(channel.resize(size, Image.Resampling.BILINEAR)) for channel in channels], axis=2)


def _by_ffmpeg(codec: str, values: NDArray[Any], pixel_format: str, **options: str) -> bytes:
    """Encodes with ffmpeg what Pillow cannot write."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    frame = av.VideoFrame.from_ndarray(values, format=pixel_format)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, pixel_format
    context.time_base, context.options = Fraction(1, 1), options
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))
