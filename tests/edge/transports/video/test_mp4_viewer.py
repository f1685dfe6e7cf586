"""A viewer of MP4 gets the init segment first, and again where the encoder changes; a file begins at 0."""

from __future__ import annotations

import io

import av

from edge.transports.video.mp4_viewer import Mp4File, Mp4Messages
from router.frame import unpack
from tests.edge.transports.video.h264 import h264_frames


def test_a_viewer_gets_the_init_segment_before_the_first_key_and_where_it_changes() -> None:
    frames = [*h264_frames(12)[1:], *h264_frames(2, size=(320, 240), began=1_700_000_001_000)]
    messages = Mp4Messages()

    sent = [[unpack(message)[0]["kind"] for message in messages.of(frame)] for frame in frames]

    # The first key is the tenth.
    assert sent[:9] == [[]] * 9
    assert sent[9:] == [["init", "fragment"], ["fragment"], ["init", "fragment"], ["fragment"]]


def test_messages_are_made_once_for_all_viewers_and_say_what_the_picture_is() -> None:
    frame, *_ = h264_frames(1)

    one, other = Mp4Messages().of(frame), Mp4Messages().of(frame)

    assert one[0] is other[0] and one[1] is other[1]
    header, body = unpack(one[1])
    assert (header["format"], header["kind"], header["seq"], header["time"]) == (
        "mp4",
        "fragment",
        0,
        1_700_000_000_000,
    )
    assert header["codec"].startswith("avc1.42")
    assert bytes(body[4:8]) == b"moof"


def test_a_file_begins_at_0_and_goes_on_where_the_clock_is_set_back() -> None:
    frames = [*h264_frames(10), *h264_frames(10, began=1_600_000_000_000)]
    file = Mp4File()

    film = b"".join(file.of(frame) or b"" for frame in frames)

    with av.open(io.BytesIO(film)) as read:
        times = [packet.pts for packet in read.demux(video=0) if packet.size]
    assert times == [*range(0, 330, 33), *range(298, 298 + 330, 33)]


def test_a_file_ends_where_the_size_changes() -> None:
    small, large = h264_frames(2), h264_frames(1, size=(320, 240))
    file = Mp4File()

    assert [file.of(frame) is None for frame in (*small, *large)] == [False, False, True]
