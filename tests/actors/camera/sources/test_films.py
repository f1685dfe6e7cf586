"""Films of many kinds, odd, damaged and malicious ones among them: none hangs, none kills, none reads another file."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from actors.camera.sources.file import VideoFileSource
from actors.camera.sources.source import BadPicture, SourceUnavailable
from tests import parts
from tests.actors.camera.sources.films import numbered_film

# Of each film: what ffmpeg makes it of, and the size in which it is shown.
CARD = "testsrc2=s={size}:r={rate}"
H264 = "-c:v libx264 -preset ultrafast"
MADE = {
    "odd444.mp4": ("161x121", 25, f"{H264} -pix_fmt yuv444p"),
    "odd420.mkv": ("161x121", 25, "-c:v ffv1 -pix_fmt yuv420p"),
    "tiny.mkv": ("2x2", 25, "-c:v ffv1 -pix_fmt bgr0"),
    "tenbit.mkv": ("160x120", 25, "-c:v ffv1 -pix_fmt yuv420p10le"),
    "gray16.mkv": ("160x120", 25, "-c:v ffv1 -pix_fmt gray16le"),
    "gray12.mkv": ("160x120", 25, "-c:v ffv1 -pix_fmt gray12le"),
    "alpha.mov": ("160x120", 25, "-c:v png -pix_fmt rgba"),
    "film.gif": ("160x120", 10, ""),
    "vfr.mkv": (
        "160x120",
        30,
        f"-vf setpts=if(lt(N\\,10)\\,N/30\\,1+(N-10)*0.2)/TB -fps_mode vfr {H264} -pix_fmt yuv420p",
    ),
    "offset.ts": ("160x120", 25, f"{H264} -pix_fmt yuv420p -output_ts_offset 3600"),
    "interlaced.mkv": ("160x120", 25, f"-vf tinterlace=4 -flags +ilme+ildct {H264} -pix_fmt yuv420p"),
    "slow.mp4": ("160x120", 0.2, f"{H264} -pix_fmt yuv420p"),
    "fast.mp4": ("160x120", 200, f"{H264} -pix_fmt yuv420p"),
    "one.png": ("160x120", 25, "-frames:v 1"),
    "plain.ts": ("160x120", 25, f"{H264} -pix_fmt yuv420p"),
    "raw.h264": ("160x120", 25, f"{H264} -pix_fmt yuv420p"),
}
NO_FILMS = (
    "empty.mp4",
    "garbage.mp4",
    "headless.mp4",
    "sound.wav",
    "list.m3u8",
    "list.mp4",
    "list.ffconcat",
    "list.sdp",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ffmpeg = parts.program(parts.FFMPEG, "ffmpeg")
    folder = tmp_path_factory.mktemp("films")

    def make(name: str, source: str, *words: str) -> None:
        command = [
            ffmpeg,
            "-loglevel",
            "error",
            "-y",
            "-threads",
            "1",
            "-f",
            "lavfi",
            "-i",
            source,
            *words,
            folder / name,
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    for name, (size, rate, words) in MADE.items():
        length = "20" if rate < 1 else "1"
        make(name, CARD.format(size=size, rate=rate), "-t", length, *words.split())
    make("sound.wav", "sine=d=1")
    whole = numbered_film(folder / "whole.mp4").read_bytes()
    (folder / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    film = bytearray((folder / "plain.ts").read_bytes())
    chance = random.Random(4)
    for _ in range(60):
        film[chance.randrange(3000, len(film))] ^= 255
    (folder / "damaged.ts").write_bytes(film)
    (folder / "truncated.ts").write_bytes(film[: len(film) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "garbage.mp4").write_bytes(chance.randbytes(200_000))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\nfile://{folder}/plain.ts\n#EXT-X-ENDLIST\n"
    (folder / "list.m3u8").write_text(playlist)
    (folder / "list.mp4").write_text(playlist)
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {folder}/plain.ts\n")
    (folder / "list.sdp").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 26\n"
    )
    return folder


class Clock:
    """Time that passes only while it is waited for."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def played(path: Path, count: int = 40) -> tuple[int, int]:
    """How many pictures, and how many bad ones, so many grabs give."""
    clock = Clock()
    source = VideoFileSource(path, clock=clock, wait=clock.wait)
    good = bad = 0
    try:
        source.open()
        for seq in range(count):
            try:
                good += source.grab(seq) is not None
            except BadPicture as fault:
                assert "\n" not in str(fault) and str(path.parent) not in str(fault)
                bad += 1
    finally:
        source.close()
    return good, bad


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MADE, "truncated.ts"])
def test_a_film_of_any_kind_plays(folder: Path, name: str) -> None:
    good, bad = played(folder / name)

    assert good >= {"one.png": 1, "slow.mp4": 8}.get(name, 35) and bad == 0


@pytest.mark.slow
def test_a_film_with_damaged_packets_plays_what_can_be_played(folder: Path) -> None:
    good, _ = played(folder / "damaged.ts")

    assert good >= 20


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_FILMS)
def test_what_is_no_film_is_told_in_one_line_and_a_list_reads_nothing_else(folder: Path, name: str) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        played(folder / name)

    assert "\n" not in str(refused.value) and name in str(refused.value)
    assert str(folder) not in str(refused.value)


@pytest.mark.slow
def test_the_same_lists_would_be_read_by_ffmpeg_itself(folder: Path) -> None:
    # Else the test above could not fail.
    ffprobe = shutil.which("ffprobe")
    assert ffprobe
    for name, words in (("list.m3u8", []), ("list.ffconcat", ["-safe", "0"])):
        command = [ffprobe, *words, "-show_streams", folder / name]
        assert b"codec_name=h264" in subprocess.run(command, capture_output=True, check=False).stdout
