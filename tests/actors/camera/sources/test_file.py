from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from actors.camera.sources.decode import PacketDecoder
from actors.camera.sources.file import VideoFileSource
from actors.camera.sources.simulated import read_strip, write_strip
from actors.camera.sources.source import BadPicture, FramePicture, Packet, Picture, SourceOver, SourceUnavailable
from tests.actors.camera.sources.films import numbered_film


class ManualClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def wall(self) -> float:
        return self.now + 1_000_000.0


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


Open = Callable[..., VideoFileSource]


@pytest.fixture
def opened(clock: ManualClock, sources: list[VideoFileSource]) -> Open:
    def opened(path: Path, **options: bool) -> VideoFileSource:
        source = VideoFileSource(path, clock=clock, wait=clock.wait, wall=clock.wall, **options)
        sources.append(source)
        source.open()
        return source

    return opened


def pixels(given: Picture | Packet | None) -> np.ndarray | None:
    match given:
        case Packet():
            [picture] = PacketDecoder(given.codec).decode(given)
            return picture.pixels
        case Picture() | FramePicture():
            return given.pixels
    return None


def number(given: Picture | Packet | None) -> int | None:
    shown = pixels(given)
    if shown is None:
        return None
    read = read_strip(shown)
    assert read is not None
    return read[0]


@pytest.mark.parametrize(("name", "codec"), [("film.mp4", "mpeg4"), ("film.mkv", "mpeg4"), ("film.avi", "mjpeg")])
def test_a_film_gives_every_picture_once_at_its_own_times_and_loops(
    tmp_path: Path, clock: ManualClock, opened: Open, name: str, codec: str
) -> None:
    source = opened(film(tmp_path / name, codec=codec))

    given = [source.grab(seq) for seq in range(25)]

    assert [number(each) for each in given] == [seq % 10 for seq in range(25)]
    times = [each.time for each in given if each is not None]
    assert np.allclose(np.diff(times), 100.0, atol=0.01)
    assert clock.now == pytest.approx(102.4)


def test_asked_at_its_own_rate_with_jitter_it_leaves_nothing_out_and_repeats_nothing(
    tmp_path: Path, clock: ManualClock, opened: Open
) -> None:
    source = opened(film(tmp_path / "film.mp4", frames=20))

    seen = []
    for turn in range(40):
        clock.now = max(clock.now, 100.0 + turn * 0.1 + (-0.04, 0.07, 0.03, 0.08)[turn % 4])
        seen.append(number(source.grab(turn)))

    assert seen == [turn % 20 for turn in range(40)]


def test_a_film_with_steps_of_its_own_keeps_them(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "film.mkv"
    steps = [0, 40, 400, 440, 1300]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for at in steps:
            frame = av.VideoFrame(64, 48, "yuvj420p")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source = opened(path, loop=False)

    given = [source.grab(seq) for seq in range(len(steps))]

    times = [each.time for each in given if each is not None]
    assert [round(at - times[0]) for at in times] == steps


def test_a_picture_that_is_due_later_than_in_a_second_is_waited_for_in_steps(tmp_path: Path, opened: Open) -> None:
    source = opened(film(tmp_path / "film.mp4", frames=3, fps=1, codec="mpeg4"), loop=False)
    source.grab(0)
    slow = opened(film(tmp_path / "slow.mkv", frames=2, fps=1), loop=False)
    slow._reader.period = 3.5  # type: ignore[union-attr]

    assert number(source.grab(1)) == 1
    assert [number(slow.grab(0)), number(slow.grab(1))] == [0, 1]
    # Then the last picture is shown for its time, and each grab takes a second at most.
    assert [slow.grab(2) for _ in range(3)] == [None, None, None]
    with pytest.raises(SourceOver, match=r"^slow\.mkv has ended$"):
        slow.grab(3)


def test_asked_more_slowly_it_leaves_pictures_out(tmp_path: Path, clock: ManualClock, opened: Open) -> None:
    source = opened(film(tmp_path / "film.mp4", frames=100))
    clock.now += 1.5  # nobody has waited for a second

    seen = []
    for turn in range(6):
        seen.append(number(source.grab(turn)))
        clock.now += 0.301

    assert [b - a for a, b in pairwise(seen[1:])] == [3, 3, 3, 3]


def test_at_the_end_without_loop_it_is_told_and_told_again(tmp_path: Path, opened: Open) -> None:
    source = opened(film(tmp_path / "film.mp4", frames=3), loop=False)

    assert [number(source.grab(seq)) for seq in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(SourceOver, match=r"^film\.mp4 has ended$"):
            source.grab(3)


def test_as_fast_as_wanted_no_picture_is_left_out_and_none_is_waited_for(
    tmp_path: Path, clock: ManualClock, opened: Open
) -> None:
    source = opened(film(tmp_path / "film.mp4"), loop=False, fast=True)

    assert not source.paced
    seen = []
    for seq in range(10):
        seen.append(number(source.grab(seq)))
        clock.now += (0.001, 5.0)[seq % 2]
    assert seen == list(range(10))
    with pytest.raises(SourceOver):
        source.grab(10)


def test_a_decoder_too_slow_for_the_film_plays_it_more_slowly_and_leaves_nothing_out(
    tmp_path: Path, clock: ManualClock, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(film(tmp_path / "film.mp4"))
    following = VideoFileSource._following

    def slowly(self: VideoFileSource) -> object:
        clock.now += 0.25  # every picture takes longer to decode than it is shown
        return following(self)

    monkeypatch.setattr(VideoFileSource, "_following", slowly)

    seen = [number(source.grab(seq)) for seq in range(8)]

    assert seen == list(range(8))


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg turns the film")
def test_a_film_that_is_to_be_shown_turned_is_shown_turned(tmp_path: Path, opened: Open, turned: int) -> None:
    # Without B-frames: upright, its packets would be passed on.
    plain = numbered_film(tmp_path / "plain.mp4", frames=3, fps=10)
    path = tmp_path / "turned.mp4"
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", plain, "-c", "copy", "-metadata:s:v:0", f"rotate={turned}", path],
        check=True,
    )
    shape = (240, 320, 3) if turned == 180 else (320, 240, 3)
    command = ["ffmpeg", "-loglevel", "error", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    wanted = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8).reshape(shape)

    source = opened(path)
    shown = pixels(source.grab(0))

    assert source.packets is None
    assert shown is not None and shown.shape == shape
    assert np.abs(shown.astype(int) - wanted).mean() < 2


def test_h264_without_b_frames_is_passed_through_and_with_them_decoded(tmp_path: Path, opened: Open) -> None:
    def made(name: str, **options: str) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"g": "5", "sc_threshold": "0", **options})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for seq in range(12):
                card = np.full((240, 320, 3), 10 * seq, dtype=np.uint8)
                write_strip(card, seq, 0)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(card, format="rgb24")))
            container.mux(stream.encode())
        return path

    plain, reordered = opened(made("plain.mp4", bf="0")), opened(made("b.mp4", bf="2"))

    packets = [plain.grab(seq) for seq in range(24)]
    pictures = [reordered.grab(seq) for seq in range(24)]

    assert (plain.packets, reordered.packets) == ("h264", None)
    decoder = PacketDecoder("h264")
    seen: list[int | None] = []
    for packet in packets:
        assert isinstance(packet, Packet)
        assert (packet.codec, packet.width, packet.height) == ("h264", 320, 240)
        assert packet.data.startswith(b"\x00\x00\x00\x01\x67") is packet.key
        seen += [number(picture) for picture in decoder.decode(packet)]
    assert seen == [number(each) for each in pictures] == [seq % 12 for seq in range(24)]
    assert [each.key for each in packets if isinstance(each, Packet)][:6] == [True, False, False, False, False, True]


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

    assert isinstance(picture, (Picture, FramePicture))
    assert (picture.width, picture.height) == size
    assert picture.pixels.dtype == np.uint8


def test_a_film_of_one_picture_is_a_still_that_is_read_once(tmp_path: Path, clock: ManualClock, opened: Open) -> None:
    source = opened(film(tmp_path / "film.mp4", frames=1))

    assert number(source.grab(0)) == 0
    assert [source.grab(seq) for seq in range(1, 5)] == [None] * 4
    assert clock.now == pytest.approx(104.0)


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


def test_a_damaged_film_plays_what_can_be_played(tmp_path: Path, clock: ManualClock, opened: Open) -> None:
    path = film(tmp_path / "film.avi", frames=30, codec="mjpeg")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = os.urandom(4000)
    path.write_bytes(content)
    source = opened(path)

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
