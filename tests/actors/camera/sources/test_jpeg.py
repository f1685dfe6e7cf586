from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actors.camera.sources.jpeg import HUFFMAN_TABLES, complete_jpeg
from actors.camera.sources.source import BadPicture


def jpeg(**options: object) -> bytes:
    with BytesIO() as file:
        pixels = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", **options)
        return file.getvalue()


def without_tables(data: bytes) -> bytes:
    """The same JPEG as a camera of MJPEG sends it."""
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        kept += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return kept + data[at:]


def test_a_jpeg_that_is_whole_is_given_as_it_is() -> None:
    data = jpeg()

    assert complete_jpeg(data) == (data, 64, 48)
    assert complete_jpeg(data + b"\x00\x00")[0] == data
    assert complete_jpeg(jpeg(progressive=True))[1:] == (64, 48)


def test_tables_that_were_left_out_are_put_in() -> None:
    data = jpeg()

    completed, width, height = complete_jpeg(without_tables(data))

    assert HUFFMAN_TABLES in completed and (width, height) == (64, 48)
    with Image.open(BytesIO(completed)) as shown, Image.open(BytesIO(data)) as whole:
        assert np.array_equal(np.asarray(shown), np.asarray(whole))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"no picture",
        jpeg()[:300],
        jpeg()[:-2],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\x00" * 50 + b"\xff\xd9",
    ],
)
def test_what_is_no_whole_jpeg_is_a_bad_picture(data: bytes) -> None:
    with pytest.raises(BadPicture):
        complete_jpeg(data)


def test_a_head_that_says_more_pixels_than_there_can_be_is_refused_before_anybody_makes_room_for_them() -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    for width, height in ((65535, 65535), (9000, 9000)):
        data[at + 5 : at + 9] = height.to_bytes(2) + width.to_bytes(2)
        with pytest.raises(BadPicture, match=rf"^a picture says that it has {width}x{height} pixels, and cannot$"):
            complete_jpeg(bytes(data))
