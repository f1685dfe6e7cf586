"""Short H.264 films for tests, each picture with its number in it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from actors.camera.sources.decode import PacketDecoder
from actors.camera.sources.simulated import read_strip, write_strip
from actors.camera.sources.source import FramePicture, Packet, Picture


def numbered_film(path: Path, frames: int = 50, fps: int = 25, **options: str) -> Path:
    """A film of 320x240 without B-frames and with a key every ten pictures, unless the options of libx264 say otherwise."""
    given = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "sc_threshold": "0", **options}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=given)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for seq in range(frames):
            card = np.full((240, 320, 3), 40 + seq % 100, dtype=np.uint8)
            write_strip(card, seq, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(card, format="rgb24")))
        container.mux(stream.encode())
    return path


class NumberReader:
    """Reads the numbers of what a source gives, packets or pictures."""

    def __init__(self) -> None:
        self._decoder: PacketDecoder | None = None

    def read(self, given: Picture | Packet | None) -> list[int]:
        if given is None:
            return []
        pictures = [given] if isinstance(given, (Picture, FramePicture)) else self._decoded(given)
        strips = [read_strip(picture.pixels) for picture in pictures]
        assert None not in strips
        return [strip[0] for strip in strips if strip]

    def _decoded(self, packet: Packet) -> list[Picture]:
        if self._decoder is None:
            self._decoder = PacketDecoder(packet.codec)
        return self._decoder.decode(packet)
