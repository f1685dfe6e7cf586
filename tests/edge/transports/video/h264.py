"""Makes pictures of H.264 as the camera actor sends them: access units in Annex B from libx264."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from edge.transports.video.frame import Frame
from router.frame import pack


def access_units(
    count: int, size: tuple[int, int] = (160, 120), *, keys: int = 10, profile: str = "baseline"
) -> Iterator[tuple[bytes, bool]]:
    """Access units of moving bars, and whether each is a key; SPS and PPS stand before each key."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.max_b_frames = 0
    encoder.options = {
        "preset": "superfast", "tune": "zerolatency", "crf": "21", "forced-idr": "1", "profile": profile, "threads": "1",
    }  # fmt: skip
    for number in range(count):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        left = number * 4 % size[0]
        pixels[:, left : left + 16] = (255, 160, 80)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number * 33
        frame.pict_type = PictureType.I if number % keys == 0 else PictureType.NONE
        for packet in encoder.encode(frame):
            yield bytes(packet), bool(packet.is_keyframe)


def h264_frames(
    count: int, *, began: int = 1_700_000_000_000, interval: int = 33, size: tuple[int, int] = (160, 120), **more: Any
) -> list[Frame]:
    """Pictures as they come over NATS, `interval` milliseconds apart."""
    return [
        Frame(
            pack(
                {
                    "seq": number, "life": 1, "time": began + number * interval, "width": size[0], "height": size[1],
                    "format": "h264", "rung": "h264", "fresh": True, "key": key, "packet": number, "source": "test",
                    "simulated": True,
                },
                body,
            )
        )
        for number, (body, key) in enumerate(access_units(count, size, **more))
    ]  # fmt: skip
