from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from actors.camera.sources.file import VideoFileSource
from actors.camera.sources.simulated import read_strip, write_strip
from actors.camera.sources.source import BadPicture, SourceUnavailable


class ManualClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def film(path: Path, frames: int = 10, fps: int = 10, size: tuple[int, int] = (320, 240), codec: str = "mpeg4") -> Path:
    """A video whose every picture bears its number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for seq in range(frames):
            card = np.full((size[1], size[0], 3), 40 + 8 * (seq % 20), dtype=np.uint8)
            write_strip(card, seq, seq * 1000 // fps)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(card, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sources() -> Iterator[list[VideoFileSource]]:
    opened: list[VideoFileSource] = []
    yield opened
    for source in opened:
        source.close()


def number(source: VideoFileSource) -> int:
    read = read_strip(source.grab(0).pixels)
    assert read is not None
    return read[0]


@pytest.mark.parametrize(("name", "codec"), [("film.mp4", "mpeg4"), ("film.mkv", "mpeg4"), ("film.avi", "mjpeg")])
def test_a_film_asked_for_at_its_own_rate_gives_every_picture_and_loops(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource], name: str, codec: str
) -> None:
    source = VideoFileSource(film(tmp_path / name, codec=codec), clock)
    sources.append(source)
    source.open()

    seen = []
    for _ in range(25):
        seen.append(number(source))
        clock.now += 0.1001

    # A step that is a little longer than the film's own never falls back.
    assert seen == [seq % 10 for seq in range(25)]


def test_a_film_asked_for_more_slowly_leaves_pictures_out(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource]
) -> None:
    source = VideoFileSource(film(tmp_path / "film.mp4"), clock)
    sources.append(source)
    source.open()

    seen = []
    for _ in range(5):
        seen.append(number(source))
        clock.now += 0.301

    assert seen == [0, 3, 6, 9, 2]


def test_a_film_asked_for_faster_repeats_pictures(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource]
) -> None:
    source = VideoFileSource(film(tmp_path / "film.mp4"), clock)
    sources.append(source)
    source.open()

    seen = []
    for _ in range(9):
        seen.append(number(source))
        clock.now += 0.0334

    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_decoder_too_slow_for_the_film_plays_it_more_slowly_and_leaves_nothing_out(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource]
) -> None:
    class Slow(VideoFileSource):
        """Every picture takes longer to decode than it is shown."""

        def _next(self) -> tuple[float, object]:
            clock.now += 0.25
            return super()._next()

    source = Slow(film(tmp_path / "film.mp4"), clock)
    sources.append(source)
    source.open()

    seen = [number(source) for _ in range(8)]

    assert seen == sorted(seen)
    assert max(b - a for a, b in pairwise(seen)) <= 2
    assert seen[-1] >= 5


@pytest.mark.parametrize("size", [(64, 48), (640, 360), (1280, 720), (722, 406)])
def test_a_film_of_any_size_is_shown_in_its_own(
    tmp_path: Path, sources: list[VideoFileSource], size: tuple[int, int]
) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(*size, "yuv420p")))
        container.mux(stream.encode())
    source = VideoFileSource(path)
    sources.append(source)
    source.open()

    picture = source.grab(0)

    assert (picture.width, picture.height) == size
    assert picture.pixels.dtype == np.uint8


def test_a_film_of_one_picture_plays_for_ever(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource]
) -> None:
    source = VideoFileSource(film(tmp_path / "film.mp4", frames=1), clock)
    sources.append(source)
    source.open()

    for _ in range(5):
        assert number(source) == 0
        clock.now += 0.11


def test_a_missing_file_is_named_in_one_line_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        VideoFileSource(tmp_path / "gone.mp4").open()

    assert str(refused.value) == "there is no video file gone.mp4"


def test_a_folder_a_text_and_an_empty_file_are_refused_in_one_line(tmp_path: Path) -> None:
    text, empty = tmp_path / "notes.mp4", tmp_path / "empty.mp4"
    text.write_text("this is no film\n" * 100)
    empty.write_bytes(b"")

    for path in (tmp_path, text, empty):
        with pytest.raises(SourceUnavailable) as refused:
            VideoFileSource(path).open()
        assert "\n" not in str(refused.value)
        assert path.name in str(refused.value)
        assert str(tmp_path.parent) not in str(refused.value)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))

    source = VideoFileSource(path)
    with pytest.raises(SourceUnavailable, match="holds no video stream"):
        source.open()
    source.close()


def test_a_damaged_film_plays_what_can_be_played(
    tmp_path: Path, clock: ManualClock, sources: list[VideoFileSource]
) -> None:
    path = film(tmp_path / "film.avi", frames=30, codec="mjpeg")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = os.urandom(4000)
    path.write_bytes(content)
    source = VideoFileSource(path, clock)
    sources.append(source)
    source.open()

    good = bad = 0
    for _ in range(60):
        try:
            source.grab(0)
            good += 1
        except BadPicture as fault:
            assert "\n" not in str(fault)
            bad += 1
        clock.now += 0.1001

    assert good >= 40
