"""Tests of router/frame.py."""

from __future__ import annotations

import pytest

from router.errors import BadEvent, BadInput
from router.frame import MAX_HEADER, frame_subject, pack, unpack


def test_a_frame_is_unpacked_as_it_was_packed() -> None:
    frame = pack({"seq": 7, "width": 4}, b"\xff\xd8jpeg")

    header, body = unpack(frame)

    assert header == {"seq": 7, "width": 4} and bytes(body) == b"\xff\xd8jpeg"
    # Browsers read it: the length of the header, little-endian, comes first.
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4 - len(body)


def test_a_body_is_not_copied() -> None:
    frame = bytearray(pack({}, b"body"))

    _, body = unpack(frame)
    frame[-1:] = b"!"

    assert bytes(body) == b"bod!"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01\x00\x00",
        b"\x05\x00\x00\x00{}",
        (MAX_HEADER + 1).to_bytes(4, "little") + b" " * (MAX_HEADER + 1),
        b"\x02\x00\x00\x00[]",
    ],
)
def test_a_broken_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(BadEvent):
        unpack(frame)


def test_a_header_that_is_not_json_is_refused() -> None:
    with pytest.raises(BadInput):
        unpack(b"\x02\x00\x00\x00\xff\xff")


def test_a_track_is_the_last_token_of_a_subject() -> None:
    assert frame_subject("camera", "door") == "frame.camera.door"
    assert frame_subject("octane", "a.b", "depth") == "frame.octane.a=2Eb.depth"
