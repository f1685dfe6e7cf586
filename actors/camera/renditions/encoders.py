"""Encodes captured pictures for one rung: JPEG, PNG or H.264."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from actors.camera.encode import encode_jpeg, encode_planes, encode_png
from actors.camera.renditions.captured import CapturedPicture
from router.rungs import Rung


@dataclass(frozen=True, slots=True)
class EncodingSettings:
    """How pictures are encoded now."""

    quality: int
    fps: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as one rung has it. `codec` is named for H.264 only."""

    body: bytes
    width: int
    height: int
    key: bool = True
    codec: str = ""
    # Whether the source gave it like this.
    given: bool = False


class RungEncoder(Protocol):
    """Encodes pictures one after another."""

    def encode(self, picture: CapturedPicture, settings: EncodingSettings, key: bool) -> Encoded:
        """Takes milliseconds, in any thread; makes a picture that can be decoded by itself of a `key`. Raises BadPicture."""


class StillEncoder:
    """Encodes pictures that each stand alone, several at once where asked to: it keeps nothing between two of them."""

    def __init__(self, rung: Rung) -> None:
        self._rung = rung

    def encode(self, picture: CapturedPicture, settings: EncodingSettings, key: bool = True) -> Encoded:
        """Encodes one picture."""
        size = picture.size_of(self._rung)
        return Encoded(self._body(picture, size, settings.quality), *size)

    def _body(self, picture: CapturedPicture, size: tuple[int, int], quality: int) -> bytes:
        if self._rung.codec == "png":
            return encode_png(picture.pixels())
        if picture.planar_only(size):
            return encode_planes(picture.planes(*size).arrays(), quality)
        # libjpeg-turbo converts RGB itself at half of what FFmpeg takes, where nobody else needs the planes.
        return encode_jpeg(picture.pixels(), quality)


class StreamEncoder:
    """Encodes an H.264 stream."""

    def __init__(self, rung: Rung) -> None:
        # Loads FFmpeg, which a camera of JPEG alone does not need.
        from actors.camera.renditions.h264 import H264Encoder

        self._rung = rung
        self._encoder = H264Encoder()

    def encode(self, picture: CapturedPicture, settings: EncodingSettings, key: bool = False) -> Encoded:
        """Encodes the next picture of the stream."""
        size = picture.size_of(self._rung)
        unit = self._encoder.encode(picture.planes(*size), picture.time, settings.quality, settings.fps, key)
        return Encoded(unit.data, *size, unit.key, unit.codec)


def encoder_of(rung: Rung) -> RungEncoder:
    """Makes the encoder of a rung."""
    return StillEncoder(rung) if rung.independent else StreamEncoder(rung)
