from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actors.camera.renditions.captured import CapturedPicture
from actors.camera.renditions.encoders import EncodingSettings, encoder_of
from actors.camera.sources.source import Picture
from router.rungs import Rung

SETTINGS = EncodingSettings(85, 30.0)


def captured(seq: int = 0, width: int = 640, height: int = 360, planar: bool = False) -> CapturedPicture:
    pixels = np.random.default_rng(seq).integers(0, 255, (height, width, 3), dtype=np.uint8)
    sizes = frozenset({(width, height)}) if planar else frozenset()
    return CapturedPicture(seq, Picture(pixels, 33.0 * seq), sizes)


@pytest.mark.parametrize(("token", "size"), [("jpeg", (640, 360)), ("jpeg-240", (426, 240)), ("png", (640, 360))])
@pytest.mark.parametrize("planar", [False, True])
def test_each_picture_is_a_file_of_the_size_that_is_told(token: str, size: tuple[int, int], planar: bool) -> None:
    encoded = encoder_of(Rung.of_token(token)).encode(captured(planar=planar), SETTINGS, True)

    image = Image.open(BytesIO(encoded.body))
    assert image.size == size == (encoded.width, encoded.height)
    assert image.format == token.partition("-")[0].upper()


def test_a_png_is_what_was_captured() -> None:
    picture = captured()

    encoded = encoder_of(Rung("png")).encode(picture, SETTINGS, True)
    assert (np.asarray(Image.open(BytesIO(encoded.body))) == picture.grabbed.pixels).all()


def test_the_first_of_a_stream_is_a_key_and_so_is_the_next_one_where_it_is_asked_for() -> None:
    encoder = encoder_of(Rung("h264", 240))
    keys = [encoder.encode(captured(seq), SETTINGS, seq == 2).key for seq in range(4)]

    assert keys == [True, False, True, False]
