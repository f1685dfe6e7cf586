"""What is said of a picture is read, and its forms are made, once for all its viewers."""

from __future__ import annotations

from edge.transports.video.frame import OPENING, Frame, read_frame
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


def test_a_frame_is_made_a_websocket_message_once() -> None:
    frame = Frame(picture(1))

    assert frame.message is frame.message
    assert frame.message.startswith(b"\x82") and frame.message.endswith(frame.payload)


def test_a_picture_says_where_it_stands_and_whether_it_is_a_repeat() -> None:
    said = Frame(pack({"seq": 4, "life": 9, "fresh": False, "key": False}, JPEG))

    assert (said.order, said.fresh, said.key) == ((9, 4), False, False)
    assert (Frame(picture(1)).order, Frame(picture(1)).fresh, Frame(picture(1)).key) == (None, True, True)
    assert read_frame(b"no picture") is None


def test_a_part_says_which_picture_it_is_and_that_it_is_a_repeat() -> None:
    said = Frame(pack({"seq": 4, "life": 9, "fresh": False, "rung": "jpeg-480"}, JPEG)).part
    assert b"\r\nX-Frame: 9.4\r\nX-Fresh: false\r\nX-Rung: jpeg-480\r\n\r\n" + JPEG in said
