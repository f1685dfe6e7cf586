"""Viewers of one picture stream share a subscription and a lease; each gets the newest frame, whatever it has missed."""

from __future__ import annotations

from edge.transports.video.frame import OPENING, Frame
from router.frame import pack

JPEG = b"\xff\xd8picture\xff\xd9"


def picture(number: int) -> bytes:
    return pack({"seq": number, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test"}, JPEG)


def test_a_frame_is_made_a_part_once_with_the_boundary_behind_it() -> None:
    frame = Frame(picture(1))

    assert frame.part is frame.part
    assert frame.part.startswith(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Timestamp: 1.5" % len(JPEG))
    assert frame.part.endswith(b"\r\n\r\n" + JPEG + b"\r\n" + OPENING)
    assert bytes(frame.body) == JPEG
