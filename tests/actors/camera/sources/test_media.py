"""What FFmpeg reads as packets, and what as pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from actors.camera.sources.media import MAX_WITHOUT_KEY, MediaReader, NoVideo, Shot
from actors.camera.sources.source import BadPicture, FramePicture, Packet
from tests.actors.camera.sources.films import numbered_film


@contextmanager
def reading(path: Path, **options: bool) -> Iterator[MediaReader]:
    reader = MediaReader(str(path), {}, **options)
    try:
        yield reader
    finally:
        reader.close()


def shots(reader: MediaReader) -> list[Shot]:
    found = []
    while (shot := reader.next()) is not None:
        found.append(shot)
    return found


def test_packets_have_the_film_s_own_times_and_pictures_the_same(tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.mp4", frames=12)

    with reading(film) as passed, reading(film, packets=False) as decoded:
        packets, pictures = shots(passed), shots(decoded)

    assert (passed.packets, decoded.packets) == ("h264", None)
    assert (
        [shot.position for shot in packets]
        == [shot.position for shot in pictures]
        == pytest.approx([seq / 25 for seq in range(12)])
    )
    assert isinstance(packets[0].made(1.0), Packet) and isinstance(pictures[0].made(1.0), FramePicture)


@pytest.mark.parametrize("format", ["yuv444p", "yuv422p"])
def test_what_not_every_player_takes_is_decoded(tmp_path: Path, format: str) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, format
        container.mux(stream.encode(av.VideoFrame(64, 48, format)))
        container.mux(stream.encode())

    with reading(path) as reader:
        assert reader.packets is None
        assert len(shots(reader)) == 1


def test_what_comes_before_the_first_key_is_of_no_use_and_tells_that_the_stream_lives(tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.ts", frames=25)
    packets = film.read_bytes()

    with reading(film) as reader:
        reader._begun = False
        first = reader.next()
        assert first is not None and first.key
    # Cut in the middle of the first ten pictures.
    (tmp_path / "cut.ts").write_bytes(packets[: 188 * 3] + packets[188 * 40 :])
    with reading(tmp_path / "cut.ts") as reader:
        given = shots(reader)

    useless = [shot for shot in given if not shot.data]
    assert all(shot.made(1.0) is None for shot in useless)
    assert given[len(useless)].key and all(shot.data for shot in given[len(useless) :])


def test_packets_out_of_order_and_a_stream_without_keys_are_decoded_after_all(tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.mp4", frames=20)

    with reading(film) as reader:
        reader.next()
        reader._last = 99.0
        assert all(shot.frame is not None for shot in shots(reader))
        assert reader.packets is None
    with reading(film) as reader:
        reader._units._parameters.clear()  # nobody could decode a key without them
        reader._keyless = MAX_WITHOUT_KEY
        shots(reader)
        assert reader.packets is None


def test_a_film_that_is_cut_short_gives_what_it_has_and_ends(tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.mkv", frames=40)
    (tmp_path / "cut.mkv").write_bytes(film.read_bytes()[: film.stat().st_size // 2])

    with reading(tmp_path / "cut.mkv") as reader:
        assert 10 <= len(shots(reader)) <= 30


def test_a_jpeg_that_no_viewer_could_show_is_a_bad_picture_or_decoded(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
        container.mux(stream.encode())
    content = path.read_bytes()
    third = [at for at in range(len(content)) if content.startswith(b"\xff\xd8", at)][2]
    path.write_bytes(content[:third] + os.urandom(2).replace(b"\xff", b"\x00") + content[third + 2 :])

    given, bad = [], 0
    with reading(path) as reader:
        while True:
            try:
                shot = reader.next()
            except BadPicture:
                bad += 1
                continue
            if shot is None:
                break
            given.append(shot)

    assert (len(given), bad) == (4, 1)
    assert {shot.codec for shot in given} == {"jpeg"}


def test_sound_is_no_video_and_a_cover_is_only_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame(format="s16", layout="mono", samples=800)
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))

    with pytest.raises(NoVideo):
        MediaReader(str(path), {})
