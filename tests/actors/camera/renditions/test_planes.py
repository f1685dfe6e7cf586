from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actors.camera import encode
from actors.camera.encode import encode_jpeg, encode_planes
from actors.camera.renditions.planes import Planes, planes_of, scaled
from actors.camera.sources.simulated import SimulatedSource


def card(width: int = 320, height: int = 240) -> np.ndarray:
    source = SimulatedSource(width, height)
    source.open()
    return np.asarray(source.grab(7).pixels)


def decoded(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")).astype(int)


def test_a_jpeg_of_planes_shows_what_one_of_pixels_shows() -> None:
    pixels = card()
    planes = planes_of(pixels, 320, 240)

    of_planes, of_pixels = decoded(encode_planes(planes.arrays(), 95)), decoded(encode_jpeg(pixels, 95))
    assert np.abs(of_planes - of_pixels).mean() < 2.0
    assert np.abs(planes.rgb().astype(int) - pixels).mean() < 3.0


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (641, 481), (50, 3)])
def test_odd_sizes_have_planes(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)

    assert Image.open(BytesIO(encode_planes(planes_of(pixels, *size).arrays()))).size == size


def test_a_grey_picture_keeps_black_and_white() -> None:
    grey = np.zeros((32, 64), dtype=np.uint8)
    grey[:, 32:] = 255

    y, u, v = planes_of(grey, 64, 32).arrays()
    assert (y[0, 0], y[0, 63]) == (0, 255)
    assert (u == 128).all() and (v == 128).all()


def test_scaling_keeps_the_mean_of_a_picture() -> None:
    pixels = card(640, 480)
    small = scaled(planes_of(pixels, 640, 480).frame, 320, 240)

    assert (small.width, small.height) == (320, 240)
    assert abs(small.rgb().mean() - pixels.mean()) < 1.5


def test_planes_of_the_right_size_are_not_converted_again() -> None:
    planes = planes_of(card(), 320, 240)

    assert scaled(planes.frame, 320, 240).frame is planes.frame
    assert isinstance(planes, Planes)


def test_without_simplejpeg_pillow_makes_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = card(321, 241)
    planes = planes_of(pixels, 321, 241).arrays()
    quick = decoded(encode_planes(planes, 95)), decoded(encode_jpeg(pixels, 95))
    monkeypatch.setattr(encode, "simplejpeg", None)

    for of_planes, of_pixels in (
        quick,
        (decoded(encode_planes(planes, 95)), decoded(encode_jpeg(pixels, 95))),
    ):
        assert np.abs(of_planes - quick[0]).mean() < 1.0
        assert np.abs(of_pixels - quick[1]).mean() < 1.0
