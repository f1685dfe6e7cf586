"""One captured picture on its way through the encoders: what several rungs need of it is made once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actors.camera.encode import eight_bits
from actors.camera.sources.source import BadPicture, FramePicture, Grabbed, Packet, Picture
from router.rungs import Rung

if TYPE_CHECKING:
    from actors.camera.renditions.planes import Planes


@dataclass(slots=True, eq=False)
class CapturedPicture:
    """A picture with its number; where it came as a packet, one of JPEG, which is decoded where pixels are needed.

    Its methods take milliseconds: offload them; threads may share it.
    """

    seq: int
    grabbed: Grabbed
    # Sizes of which planes are needed anyway, so that JPEG is made from them, too.
    planar: frozenset[tuple[int, int]] = frozenset()
    _decoded: Picture | FramePicture | None = None
    _planes: dict[tuple[int, int], Planes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _shown: NDArray[np.uint8] | None = None

    @property
    def time(self) -> float:
        return self.grabbed.time

    @property
    def size(self) -> tuple[int, int]:
        return self.grabbed.width, self.grabbed.height

    def size_of(self, rung: Rung) -> tuple[int, int]:
        """The size in which a rung has this picture."""
        return size_of(rung, *self.size)

    def given(self, rung: Rung) -> Packet | None:
        """The packet of the source that is the rung's own picture, if so."""
        packet = self.grabbed if isinstance(self.grabbed, Packet) else None
        return packet if packet is not None and is_source_of(packet, rung) else None

    def planar_only(self, size: tuple[int, int]) -> bool:
        """Whether planes are the way to a JPEG of that size: they are needed anyway, or there is no RGB to begin with."""
        return size in self.planar or size != self.size or not isinstance(self.grabbed, Picture)

    def pixels(self) -> NDArray[np.uint8]:
        """Grey or RGB in 8 bits. Raises BadPicture."""
        with self._lock:
            return self._eight_bits()

    def planes(self, width: int, height: int) -> Planes:
        """YUV planes of that size. Raises BadPicture."""
        # One lock for all: a second thread that wants the same planes has nothing better to do than to wait for them.
        with self._lock:
            made = self._planes.get((width, height))
            if made is None:
                made = self._planes[width, height] = self._converted(width, height)
            return made

    def _converted(self, width: int, height: int) -> Planes:
        # Loads FFmpeg, which a camera of full-size JPEG does not need.
        from actors.camera.renditions.planes import planes_of, scaled

        # A large picture is scaled from the planes of its full size where these were made: less to read than RGB.
        if (whole := self._planes.get(self.size)) is not None:
            return scaled(whole.frame, width, height)
        if isinstance(picture := self._pictured(), FramePicture):
            return scaled(picture.frame, width, height)
        pixels = self._eight_bits()
        if (pixels.shape[1] - width, pixels.shape[0] - height) in ((1, 0), (0, 1), (1, 1)):
            # An even size for 4:2:0 chroma: one line is left out, and nothing is blurred.
            pixels = pixels[:height, :width]
        return planes_of(pixels, width, height)

    def _eight_bits(self) -> NDArray[np.uint8]:
        if self._shown is None:
            picture = self._pictured()
            self._shown = eight_bits(picture.pixels, picture.bits)
        return self._shown

    def _pictured(self) -> Picture | FramePicture:
        if not isinstance(self.grabbed, Packet):
            return self.grabbed
        if self._decoded is None:
            from actors.camera.sources.decode import PacketDecoder

            pictures = PacketDecoder(self.grabbed.codec).decode(self.grabbed)
            if not pictures:
                raise BadPicture("a packet of the source holds no picture")
            self._decoded = pictures[0]
        return self._decoded


def is_source_of(packet: Packet, rung: Rung) -> bool:
    """Whether a packet of the source is the picture of a rung as it is."""
    return packet.codec == rung.codec and (rung.height is None or rung.height >= packet.height)


def size_of(rung: Rung, width: int, height: int) -> tuple[int, int]:
    """The size in which a rung has pictures of a source of that size; a rung that is not lower has the source's."""
    if rung.height is not None and rung.height < height:
        width, height = max(2, round(width * rung.height / height)), rung.height
        return width - width % 2, height
    if rung.codec == "h264":
        # 4:2:0 chroma has half of each side.
        return max(2, width - width % 2), max(2, height - height % 2)
    return width, height
