"""Viewers of one picture stream share a subscription and a lease; each gets the newest frame, whatever it has missed."""

from __future__ import annotations

from edge.transports.video.frame import Frame
from edge.transports.video.viewer import Viewer
from router.frame import pack

JPEG = b"\xff\xd8picture\xff\xd9"


def picture(number: int) -> bytes:
    return pack({"seq": number, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test"}, JPEG)


async def test_a_viewer_that_is_slow_gets_the_newest_frame_only() -> None:
    viewer, frames = Viewer(), [Frame(picture(n)) for n in range(3)]

    for frame in frames:
        viewer.show(frame)

    assert await viewer.next() is frames[2] and viewer.dropped == 2
