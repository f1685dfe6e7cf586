"""JPEGs of cameras get their Huffman tables, and keys of H.264 their parameter sets."""

from __future__ import annotations

import re
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from actors.camera.sources.source import BadPicture
from actors.camera.sources.v4l2.encoded import AccessUnits, whole_jpeg


def jpeg() -> bytes:
    rows = np.arange(64 * 48 * 3, dtype=np.uint32).reshape(48, 64, 3) % 251
    with BytesIO() as file:
        Image.fromarray(rows.astype(np.uint8)).save(file, "JPEG", quality=80)
        return file.getvalue()


def without_tables(data: bytes) -> bytes:
    """As a camera of Motion JPEG sends it: the same, and no segment DHT."""
    kept, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xC4:
            kept += data[at:end]
        at = end
    return bytes(kept) + data[at:]


def test_a_whole_jpeg_is_passed_on_as_it_is_without_the_padding_behind_it() -> None:
    data = jpeg()

    assert whole_jpeg(data) == data
    assert whole_jpeg(data + bytes(300)) == data


def test_a_jpeg_without_tables_gets_those_of_the_standard_and_shows_the_same() -> None:
    data = jpeg()
    bare = without_tables(data)
    assert len(bare) < len(data) - 400

    shown = np.asarray(Image.open(BytesIO(whole_jpeg(bare))))

    assert np.array_equal(shown, np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("cut", [0, 1, 20, 400, -2])
def test_what_is_no_whole_jpeg_is_a_bad_picture(cut: int) -> None:
    with pytest.raises(BadPicture):
        whole_jpeg(jpeg()[:cut])


def test_noise_is_a_bad_picture() -> None:
    with pytest.raises(BadPicture):
        whole_jpeg(b"\xff\xd8" + bytes(200) + b"\xff\xd9")


def packets(count: int) -> list[bytes]:
    """Access units of H.264 in Annex B, each second one a key with SPS and PPS before it."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = 64, 48, "yuv420p", 2
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
    pixels = np.zeros((48, 64, 3), np.uint8)
    frames = [av.VideoFrame.from_ndarray(pixels + 9 * index, format="rgb24") for index in range(count)]
    return [bytes(packet) for frame in frames for packet in encoder.encode(frame)]


def bare(data: bytes) -> bytes:
    """The same without SPS and PPS."""
    return b"".join(
        b"\x00\x00\x00\x01" + unit for unit in re.split(rb"\x00?\x00\x00\x01", data)[1:] if unit[0] & 31 not in (7, 8)
    )


def test_a_key_without_parameter_sets_gets_those_that_were_sent_once() -> None:
    first, second, third, *_ = packets(4)
    units = AccessUnits()

    assert units.whole(first) == (first, True)
    assert units.whole(second) == (second, False)
    repeated, key = units.whole(bare(third))

    assert key
    decoder = av.CodecContext.create("h264", "r")
    assert [*decoder.decode(av.Packet(repeated)), *decoder.decode(None)]


def test_what_comes_before_the_parameter_sets_is_no_key() -> None:
    assert AccessUnits().whole(bare(packets(2)[0]))[1] is False


def test_what_is_no_annex_b_is_a_bad_picture() -> None:
    with pytest.raises(BadPicture):
        AccessUnits().whole(b"\x12\x34" * 40)
