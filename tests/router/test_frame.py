"""Tests of router/frame.py."""

from __future__ import annotations

import pytest

from router.errors import BadEvent, BadInput
from router.frame import MAX_BODY, MAX_HEADER, frame_subject, in_parts, pack, part_subject, unpack


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


def test_a_picture_that_fits_one_message_is_one_frame() -> None:
    assert in_parts("frame.octane.main", {"seq": 1}, b"body", 1000) == [
        ("frame.octane.main", pack({"seq": 1}, b"body"))
    ]


def test_a_larger_picture_goes_in_parts_and_a_frame_that_names_them_comes_last() -> None:
    body = bytes(range(256)) * 20

    *parts, (subject, listing) = in_parts("frame.octane.main", {"seq": 1}, body, 1000)

    header, nothing = unpack(listing)
    assert subject == "frame.octane.main" and bytes(nothing) == b""
    assert header.items() >= {"seq": 1, "parts": len(parts), "size": len(body)}.items()
    assert [each for each, _ in parts] == [part_subject(subject, number) for number in range(1, len(parts) + 1)]
    assert b"".join(bytes(unpack(frame)[1]) for _, frame in parts) == body
    assert {unpack(frame)[0]["picture"] for _, frame in parts} == {header["picture"]}
    assert max(len(frame) for _, frame in (*parts, (subject, listing))) <= 1000


def test_parts_of_two_pictures_are_told_apart() -> None:
    first, second = (unpack(in_parts("frame.x.y", {}, bytes(2000), 1000)[-1][1])[0]["picture"] for _ in range(2))

    assert first != second


def test_a_picture_beyond_all_measure_is_not_sent() -> None:
    assert in_parts("frame.x.y", {}, bytes(MAX_BODY + 1), 1 << 20) == []
    assert in_parts("frame.x.y", {}, bytes(2000), 100) == []
