"""A source that gives packets, and pictures that stand still, as a test tells it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.renditions.h264 import H264Encoder
from actors.camera.renditions.planes import planes_of
from actors.camera.settings import CameraSettings
from actors.camera.sources.simulated import SimulatedSource
from actors.camera.sources.source import Grabbed, Packet
from actors.system.probe import Probe


def jpeg(width: int = 640, height: int = 480, value: int = 90) -> bytes:
    with BytesIO() as file:
        Image.fromarray(np.full((height, width, 3), value, dtype=np.uint8)).save(file, "JPEG")
        return file.getvalue()


class PacketSource:
    """Gives what `given` says for each number; where it says nothing, the source stands still."""

    kind = "http"
    simulated = False

    def __init__(self, given: Any) -> None:
        self._given = given

    def open(self) -> None: ...

    def grab(self, seq: int) -> Grabbed | None:
        given: Grabbed | None = self._given(seq)
        return given

    def close(self) -> None: ...


class EncodedCard:
    """The simulated card as H.264 packets with a key every `keys` pictures."""

    def __init__(self, width: int = 640, height: int = 480, keys: int = 10) -> None:
        self._source = SimulatedSource(width, height)
        self._source.open()
        self._encoder = H264Encoder()
        self._size = width, height
        self._keys = keys
        self.sent: dict[int, Packet] = {}

    def __call__(self, seq: int) -> Packet:
        picture = self._source.grab(seq)
        planes = planes_of(np.asarray(picture.pixels), *self._size)
        unit = self._encoder.encode(planes, picture.time, 85, 30.0, seq % self._keys == 0)
        packet = self.sent[seq] = Packet("h264", unit.data, picture.time, *self._size, unit.key)
        return packet


def camera_of(given: Any, **settings: Any) -> Probe:
    return Probe(lambda: Camera(CameraSettings(**settings), lambda address, settings: PacketSource(given)))
