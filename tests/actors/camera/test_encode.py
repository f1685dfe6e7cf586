from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actors.camera.encode import encode_jpeg
from actors.camera.sources.source import BadPicture


def decoded(jpeg: bytes) -> np.ndarray:
    with Image.open(BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def ramp(dtype: type, most: int, channels: int | None = None) -> np.ndarray:
    grey = np.broadcast_to(np.linspace(0, most, 128).astype(dtype), (64, 128))
    return grey if channels is None else np.stack([grey] * channels, axis=2)


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (ramp(np.uint8, 255), (64, 128)),
        (ramp(np.uint16, 65535), (64, 128)),
        (ramp(np.uint8, 255, 3), (64, 128, 3)),
        (ramp(np.uint16, 65535, 3), (64, 128, 3)),
        (ramp(np.uint8, 255, 1), (64, 128)),
    ],
)
def test_grey_and_rgb_of_8_and_16_bits_keep_their_brightness(pixels: np.ndarray, shape: tuple[int, ...]) -> None:
    picture = decoded(encode_jpeg(pixels, 95))

    assert picture.shape == shape
    assert np.abs(picture.reshape(64, 128, -1)[32, :, 0].astype(int) - np.linspace(0, 255, 128)).max() < 6


def test_a_12_bit_sensor_is_shown_in_full_and_clipped_beyond() -> None:
    pixels = ramp(np.uint16, 4095).copy()
    pixels[:8] = 60000

    picture = decoded(encode_jpeg(pixels, 95, bits=12))

    assert picture[32, 127] > 250
    assert picture[:8].min() > 245


def test_a_higher_quality_is_a_bigger_and_truer_picture() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)

    sizes = [len(encode_jpeg(noise, quality)) for quality in (1, 50, 85, 95)]

    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 5


def test_a_view_with_strides_is_encoded_as_it_looks() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, :20] = (255, 0, 0)

    picture = decoded(encode_jpeg(pixels[:, ::-1], 95))

    assert picture[20, 35, 0] > 240
    assert picture[20, 5, 0] < 15


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10, 10, 2), dtype=np.uint8),
        np.zeros((10, 10, 4), dtype=np.uint8),
        np.zeros((10,), dtype=np.uint8),
        np.zeros((0, 10), dtype=np.uint8),
        np.zeros((10, 10), dtype=np.float64),
        np.zeros((1, 70000), dtype=np.uint8),
    ],
)
def test_what_is_no_picture_is_a_bad_frame(pixels: np.ndarray) -> None:
    with pytest.raises(BadPicture):
        encode_jpeg(pixels)
