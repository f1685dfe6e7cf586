from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.camera.sources.decode import PacketDecoder
from actors.camera.sources.file import VideoFileSource
from actors.camera.sources.source import BadPicture, Packet
from tests.actors.camera.sources.films import NumberReader, numbered_film


def packets(path: Path, count: int) -> list[Packet]:
    source = VideoFileSource(path, fast=True)
    source.open()
    given = [source.grab(seq) for seq in range(count)]
    source.close()
    return [each for each in given if isinstance(each, Packet)]


def test_decoding_takes_up_at_a_key_and_gives_each_picture_at_once(tmp_path: Path) -> None:
    given = packets(numbered_film(tmp_path / "film.mp4"), 25)[3:]
    decoder = PacketDecoder("h264")

    decoded = [decoder.decode(packet) for packet in given]

    assert [len(each) for each in decoded] == [0] * 7 + [1] * 15
    assert [picture.time for each in decoded for picture in each] == [packet.time for packet in given[7:]]
    reader = NumberReader()
    assert [reader.read(picture)[0] for each in decoded for picture in each] == list(range(10, 25))


def test_a_packet_that_cannot_be_decoded_is_a_bad_picture_and_the_next_key_is_good(tmp_path: Path) -> None:
    given = packets(numbered_film(tmp_path / "film.mp4"), 11)
    decoder = PacketDecoder("h264")
    decoder.decode(given[0])

    with pytest.raises(BadPicture):
        decoder.decode(Packet("h264", b"\x00\x00\x00\x01", 0.0, 320, 240))

    assert [len(decoder.decode(packet)) for packet in given[8:]] == [0, 0, 1]
    assert np.asarray(decoder.decode(given[10])[0].pixels).shape == (240, 320, 3)
