"""One captured picture on its way through the encoders: what several rungs need of it is made once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actors.camera.encode import eight_bits
from actors.camera.sources.source import Picture
from router.rungs import Rung

if TYPE_CHECKING:
    from actors.camera.renditions.planes import Planes


@dataclass(slots=True, eq=False)
class CapturedPicture:
    """A picture with its number. Its methods take milliseconds: offload them; threads may share it."""

    seq: int
    picture: Picture
    # Sizes of which planes are needed anyway, so that JPEG is made from them, too.
    planar: frozenset[tuple[int, int]] = frozenset()
    _planes: dict[tuple[int, int], Planes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _shown: NDArray[np.uint8] | None = None

    @property
    def time(self) -> float:
        return self.picture.time

    def size_of(self, rung: Rung) -> tuple[int, int]:
        """The size in which a rung has this picture."""
        return size_of(rung, self.picture.width, self.picture.height)

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
        from actors.camera.renditions.planes import planes_of

        pixels = self._eight_bits()
        if (pixels.shape[1] - width, pixels.shape[0] - height) in ((1, 0), (0, 1), (1, 1)):
            # An even size for 4:2:0 chroma: one line is left out, and nothing is blurred.
            pixels = pixels[:height, :width]
        return planes_of(pixels, width, height)

    def _eight_bits(self) -> NDArray[np.uint8]:
        if self._shown is None:
            self._shown = eight_bits(self.picture.pixels, self.picture.bits)
        return self._shown


def size_of(rung: Rung, width: int, height: int) -> tuple[int, int]:
    """The size in which a rung has pictures of a source of that size; a rung that is not lower has the source's."""
    if rung.height is not None and rung.height < height:
        width, height = max(2, round(width * rung.height / height)), rung.height
        return width - width % 2, height
    if rung.codec == "h264":
        # 4:2:0 chroma has half of each side.
        return max(2, width - width % 2), max(2, height - height % 2)
    return width, height
