"""Captures and encodes with as little code as can be: what the camera actor is compared with.

`python -m ops.bench.camera_bare` takes one JSON order a line: `{"do": "capture", "codec": "jpeg" | "h264", "width": …, "height": …,
"rate": …, "seconds": …}`. The source and the encoders are the actor's own; nothing is sent to anybody.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from actors.camera.encode import encode_jpeg
from actors.camera.renditions.h264 import H264Encoder
from actors.camera.renditions.planes import planes_of
from actors.camera.sources.simulated import SimulatedSource

QUALITY = 85


def encoder_of(codec: str, width: int, height: int, rate: float) -> Callable[[Any, float], bytes]:
    """What encodes a picture of these pixels, captured at a time in ms."""
    if codec == "jpeg":
        return lambda pixels, _: encode_jpeg(pixels, QUALITY)
    encoder = H264Encoder()
    return lambda pixels, time: encoder.encode(planes_of(pixels, width, height), time, QUALITY, rate).data


def capture(width: int, height: int, rate: float, seconds: float, codec: str = "jpeg") -> tuple[int, int]:
    """Captures and encodes at a rate, for so long; how many pictures and bytes it was."""
    source = SimulatedSource(width, height)
    source.open()
    encode = encoder_of(codec, width, height, rate)
    began, pictures, size = time.monotonic(), 0, 0
    while (due := began + pictures / rate) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        picture = source.grab(pictures)
        size += len(encode(picture.pixels, picture.time))
        pictures += 1
    return pictures, size


def main() -> None:
    """Takes orders until its input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        pictures, size = capture(order["width"], order["height"], order["rate"], order["seconds"], order["codec"])
        print(json.dumps({"pictures": pictures, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
