"""Fragments of at most a second, whose times are those of the capture clock to the microsecond."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from io import BytesIO

import av
import numpy as np

from actors.camera.recording.fragments import TIMESCALE, FragmentMark, FragmentWriter, MadeFragment, file_index
from router.mp4 import access_unit, init_segment

BEGAN = 1_800_000_000_123.0


def film(times: list[float], every: int = 30) -> list[tuple[float, bool, bytes]]:
    """Pictures of H.264 at some times (ms): each with its time, whether it is a key, and its bytes in Annex B."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base = Fraction(1, TIMESCALE)
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "g": str(every), "x264-params": "repeat-headers=1"}
    found = []
    for number, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, dtype=np.uint8), format="rgb24")
        frame.pts = number
        for packet in encoder.encode(frame.reformat(format="yuv420p")):
            found += [(time, packet.is_keyframe, bytes(packet))]
    return found


def written(pictures: list[tuple[float, bool, bytes]], until: float) -> tuple[bytes, list[MadeFragment]]:
    """The head of a film and its fragments."""
    unit = access_unit(pictures[0][2])
    writer = FragmentWriter(BEGAN)
    made = [each for time, key, body in pictures if (each := writer.add(time, key, access_unit(body).sample))]
    last = writer.flush(until)
    assert last is not None
    return init_segment(unit.sps, unit.pps, 64, 48, TIMESCALE), [*made, last]


def test_times_are_exact_and_gaps_stay_gaps() -> None:
    chance, times = random.Random(3), [BEGAN]
    for number in range(150):
        times.append(times[-1] + (2500.0 if number == 80 else chance.choice((8.25, 33.333, 120.5))))
    head, made = written(film(times), times[-1] + 40)

    with av.open(BytesIO(head + b"".join(each.body for each in made))) as file:
        stream = file.streams.video[0]
        assert stream.time_base is not None
        shown = [float(frame.pts * stream.time_base * 1000) for frame in file.decode(stream)]

    assert len(shown) == len(times)
    assert max(abs(BEGAN + at - time) for at, time in zip(shown, times, strict=True)) < 0.01
    assert sum(each.frames for each in made) == len(times)
    assert all(each.until - each.time <= 500 + 120.6 or each.until - each.time >= 2500 for each in made)


def test_a_key_begins_a_fragment_and_half_a_second_ends_one() -> None:
    times = [BEGAN + 40.0 * number for number in range(60)]
    _, made = written(film(times, every=15), times[-1] + 40)

    assert [each.frames for each in made] == [13, 2] * 4 and [each.key for each in made] == [True, False] * 4
    _, made = written(film(times, every=100), times[-1] + 40)
    assert [each.frames for each in made] == [13, 13, 13, 13, 8] and [each.key for each in made] == [True, *[False] * 4]
    assert [each.until - each.time for each in made] == [520.0] * 4 + [320.0]


def test_times_rise_whatever_the_clock_does() -> None:
    pictures = film([BEGAN, BEGAN + 40, BEGAN + 40, BEGAN + 10, BEGAN + 80])
    head, made = written(pictures, BEGAN + 120)

    with av.open(BytesIO(head + b"".join(each.body for each in made))) as file:
        shown = [round(float(frame.pts * frame.time_base * 1000), 2) for frame in file.decode(video=0)]

    assert shown == [0, 40, 41, 42, 80]


def test_the_index_gives_a_player_duration_and_places() -> None:
    times = [BEGAN + 40.0 * number for number in range(100)]
    head, made = written(film(times, every=50), times[-1] + 540)
    marks = [FragmentMark(len(each.body), each.time, each.key) for each in made]
    index = file_index(BEGAN, marks, made[-1].until)

    with av.open(BytesIO(head + index + b"".join(each.body for each in made))) as file:
        assert file.duration is not None and abs(file.duration / 1e6 - 4.5) < 0.001
        file.seek(3_000_000)
        assert next(file.decode(video=0)).pts == 2 * TIMESCALE

    # A player seeks to what begins with a key: eight fragments, two of them.
    assert len(made) == 8 and struct.unpack(">H", index[38:40]) == (2,)


def test_what_is_dropped_is_counted() -> None:
    writer = FragmentWriter(BEGAN)
    assert writer.flush() is None and writer.drop() == 0
    for time, key, body in film([BEGAN, BEGAN + 40]):
        writer.add(time, key, body)

    assert writer.drop() == 2 and writer.flush() is None
