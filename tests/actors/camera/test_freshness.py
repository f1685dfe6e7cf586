from __future__ import annotations

import av
import numpy as np
import pytest

from actors.camera.freshness import is_repeat
from actors.camera.sources.source import FramePicture, Grabbed, Packet, Picture


def picture(value: int = 0, spot: int = 0, fresh: bool = True, shape: tuple[int, ...] = (33, 7, 3)) -> Picture:
    pixels = np.full(shape, value, dtype=np.uint8)
    pixels.reshape(-1)[-5] = spot
    return Picture(pixels, 0.0, fresh=fresh)


def packet(codec: str, data: bytes) -> Packet:
    return Packet(codec, data, 0.0, 4, 4)


FRAME = av.VideoFrame(16, 16, "yuv420p")


@pytest.mark.parametrize(
    ("now", "before", "repeat"),
    [
        (picture(1), picture(1), True),
        (picture(1), picture(2), False),
        (picture(1, spot=9), picture(1), False),
        (picture(1, shape=(32, 8, 3)), picture(1, shape=(32, 8, 3)), True),
        (picture(1, spot=9, shape=(32, 8, 3)), picture(1, shape=(32, 8, 3)), False),
        (picture(1), picture(1, shape=(33, 7)), False),
        (picture(1, fresh=False), picture(2), True),
        (Picture(picture().pixels[:, ::2], 0.0), Picture(picture().pixels[:, ::2], 0.0), True),
        (packet("jpeg", b"a"), packet("jpeg", b"a"), True),
        (packet("jpeg", b"a"), packet("jpeg", b"b"), False),
        (packet("h264", b"a"), packet("h264", b"a"), False),
        (packet("jpeg", b"a"), picture(), False),
        (picture(), packet("jpeg", b"a"), False),
        (FramePicture(FRAME, 0.0), FramePicture(FRAME, 1.0), True),
        (FramePicture(FRAME, 0.0), FramePicture(av.VideoFrame(16, 16, "yuv420p"), 1.0), False),
    ],
)
def test_a_repeat_is_what_shows_the_same_bit_by_bit(now: Grabbed, before: Grabbed, repeat: bool) -> None:
    assert is_repeat(now, before) is repeat
