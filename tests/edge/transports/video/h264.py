"""Makes pictures of H.264 as the camera actor sends them: access units in Annex B from libx264."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from edge.transports.video.frame import Frame
from edge.transports.video.mp4 import codec_of, nal_units
from router.broker import Broker
from router.event import Event
from router.frame import pack
from router.rungs import Rung, rung_subject


def _encoder(size: tuple[int, int], profile: str) -> Any:
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.max_b_frames = 0
    encoder.options = {
        "preset": "superfast", "tune": "zerolatency", "crf": "21", "forced-idr": "1", "profile": profile, "threads": "1",
    }  # fmt: skip
    return encoder


def _bars(number: int, size: tuple[int, int]) -> np.ndarray:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    left = number * 4 % size[0]
    pixels[:, left : left + 16] = (255, 160, 80)
    return pixels


def access_units(
    count: int, size: tuple[int, int] = (160, 120), *, keys: int = 10, profile: str = "baseline"
) -> Iterator[tuple[bytes, bool]]:
    """Access units of moving bars, and whether each is a key; SPS and PPS stand before each key."""
    encoder = LiveEncoder(size, profile)
    for number in range(count):
        yield encoder.encode(number % keys == 0)


def h264_frames(
    count: int, *, began: int = 1_700_000_000_000, interval: int = 33, size: tuple[int, int] = (160, 120), **more: Any
) -> list[Frame]:
    """Pictures as they come over NATS, `interval` milliseconds apart."""
    frames, codec = [], ""
    for number, (body, key) in enumerate(access_units(count, size, **more)):
        codec = codec_in(body) or codec
        header = {
            "seq": number, "life": 1, "time": began + number * interval, "width": size[0], "height": size[1], "format": "h264",
            "rung": "h264", "fresh": True, "key": key, "codec": codec, "packet": number, "source": "test", "simulated": True,
        }  # fmt: skip
        frames.append(Frame(pack(header, body)))
    return frames


def codec_in(body: bytes) -> str | None:
    """The codec that the SPS of an access unit names, where it has one."""
    return next((codec_of(unit) for unit in nal_units(body) if unit[0] & 31 == 7), None)


class LiveFilm:
    """A camera that sends H.264: numbers and times of its pictures are those of its encoder. Asked for a key, it sends one next."""

    def __init__(
        self, broker: Broker, entity: str, *, fps: float = 25.0, size: tuple[int, int] = (160, 120), filler: int = 0
    ) -> None:
        """`filler` is a number of bytes by which each picture is made larger."""
        self._broker, self._entity = broker, entity
        # A NAL unit of filler data (type 12).
        self._filler = b"\0\0\0\1\x0c" + b"\xff" * filler + b"\x80" if filler else b""
        self._fps, self._size = fps, size
        self._wanted = asyncio.Event()
        self.asked = 0
        self.sent = 0
        # The capture times of its pictures, in ms.
        self.times: list[int] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[LiveFilm]:
        """Sends pictures for as long as the block lasts."""
        await self._broker.publish(Event.new(f"camera.{self._entity}.state", {"status": "streaming"}))
        listening = await self._broker.connection.listen(f"cmd.camera.{self._entity}.key_frame", lambda *_: self._ask())
        sending = asyncio.ensure_future(self._send())
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await listening.stop()

    def _ask(self) -> None:
        self.asked += 1
        self._wanted.set()

    async def _send(self) -> None:
        life, subject = time.time_ns() // 1_000_000, rung_subject(self._entity, Rung("h264"))
        codec = ""
        encoder = LiveEncoder(self._size)
        while True:
            body, key = encoder.encode(self.sent % 250 == 0 or self._wanted.is_set())
            self._wanted.clear()
            codec = codec_in(body) or codec
            header = {
                "seq": self.sent, "life": life, "time": time.time_ns() // 1_000_000, "width": self._size[0], "height": self._size[1],
                "format": "h264", "rung": "h264", "fresh": True, "key": key, "codec": codec, "packet": self.sent, "source": "test",
                "simulated": True, "fps": self._fps, "quality": 85,
            }  # fmt: skip
            self.times.append(header["time"])
            await self._broker.frame(subject, pack(header, body + self._filler))
            self.sent += 1
            await asyncio.sleep(1 / self._fps)


class LiveEncoder:
    """libx264 on moving bars."""

    def __init__(self, size: tuple[int, int], profile: str = "baseline") -> None:
        self._encoder = _encoder(size, profile)
        self._size = size
        self._number = 0

    def encode(self, key: bool) -> tuple[bytes, bool]:
        """The next access unit, and whether it is a key."""
        frame = av.VideoFrame.from_ndarray(_bars(self._number, self._size), format="rgb24")
        frame.pts = self._number * 33
        frame.pict_type = PictureType.I if key else PictureType.NONE
        self._number += 1
        (packet,) = self._encoder.encode(frame)
        return bytes(packet), bool(packet.is_keyframe)
