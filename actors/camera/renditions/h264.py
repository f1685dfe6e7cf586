"""Encodes pictures as H.264 through libx264, for a stream without delay: one packet for each picture, at once.

A packet is one access unit in Annex B; SPS and PPS stand before each key.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

from actors.camera.renditions.annexb import codec_of
from actors.camera.renditions.errors import readable
from actors.camera.renditions.planes import FORMAT, Planes
from actors.camera.sources.source import BadPicture

# 2 s: how long somebody who joins waits at most where no key is asked for, at a few percent of the bytes.
KEY_EVERY_MS = 2000.0

# At the usual JPEG quality of 85 the constant rate factor is 21: the same SSIM on a real clip. Four steps of quality are
# about one of the factor.
_FACTOR, _QUALITY, _STEPS = 21, 85, 4

# 500 000 pixels keep one thread of libx264 busy; more threads cut a small picture into slices for nothing.
_PIXELS_A_THREAD = 500_000

_BT709, _SRGB, _SMPTE170M, _FULL_RANGE = 1, 13, 6, 2


@dataclass(frozen=True, slots=True)
class EncodedUnit:
    """One encoded picture. `codec` names profile and level as browsers do, as in `avc1.64001f`."""

    data: bytes
    key: bool
    codec: str


class H264Encoder:
    """Encodes one stream. Call it from one thread at a time."""

    def __init__(self) -> None:
        self._context: Any = None
        self._made_for: tuple[int, int, int, float] | None = None
        self._codec = ""
        self._pts = 0
        self._key_time = 0.0

    def encode(self, planes: Planes, time: float, quality: int, fps: float, key: bool = False) -> EncodedUnit:
        """Encodes a picture captured at `time` (ms), as a key where asked for or due. Raises BadPicture.

        Where size, quality or rate differ from those of the last picture, a new encoder begins, with a key.
        """
        wanted = (planes.width, planes.height, quality, fps)
        if self._made_for != wanted:
            self._context = _context(*wanted)
            self._made_for, key = wanted, True
        if key or not 0 <= time - self._key_time < KEY_EVERY_MS:
            key, self._key_time = True, time
        try:
            return self._encoded(planes, key)
        except BadPicture:
            # What the encoder holds after an error is unknown.
            self._made_for = None
            raise

    def _encoded(self, planes: Planes, key: bool) -> EncodedUnit:
        # Two rungs of a small source have the same planes, and each encoder writes its own number into them.
        with planes.lock, readable():
            frame = planes.frame
            frame.pts, frame.time_base = self._pts, self._context.time_base
            frame.pict_type = PictureType.I if key else PictureType.NONE
            data = b"".join(bytes(packet) for packet in self._context.encode(frame))
        self._pts += 1
        if not data:
            raise BadPicture("libx264 gave no packet for a picture")
        if key:
            self._codec = codec_of(data)
        return EncodedUnit(data, key, self._codec)


def _context(width: int, height: int, quality: int, fps: float) -> Any:
    with readable():
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, FORMAT
        context.framerate = Fraction(fps).limit_denominator(1000)
        context.time_base = 1 / context.framerate
        context.max_b_frames = 0
        context.color_range, context.colorspace = _FULL_RANGE, _SMPTE170M
        context.color_primaries, context.color_trc = _BT709, _SRGB
        most = max(1, math.ceil(width * height / _PIXELS_A_THREAD))
        context.thread_count = min(most, os.cpu_count() or 1, 8)
        context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "crf": str(_FACTOR + (_QUALITY - quality) / _STEPS),
            "forced-idr": "1",
            # This class says when a key is due.
            "x264-params": "keyint=infinite:scenecut=0",
        }
        context.open()
    return context
