"""Captures and encodes with as little code as can be: what the camera actor is compared with.

`python -m ops.bench.camera_bare` takes one JSON order a line: `{"do": "capture", "codec": "jpeg" | "h264", "width": …, "height": …,
"rate": …, "seconds": …}`. The source and the encoders are the actor's own; nothing is sent to anybody.
"""

from __future__ import annotations

import json
import sys
import time

from actors.camera.encode import encode_jpeg
from actors.camera.sources.simulated import SimulatedSource


def capture(width: int, height: int, rate: float, seconds: float) -> tuple[int, int]:
    """Captures and encodes at a rate, for so long; how many pictures and bytes it was."""
    source = SimulatedSource(width, height)
    source.open()
    began, pictures, size = time.monotonic(), 0, 0
    while (due := began + pictures / rate) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        picture = source.grab(pictures)
        size += len(encode_jpeg(picture.pixels, 85, picture.bits))
        pictures += 1
    return pictures, size


def main() -> None:
    """Takes orders until its input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        pictures, size = capture(order["width"], order["height"], order["rate"], order["seconds"])
        print(json.dumps({"pictures": pictures, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
