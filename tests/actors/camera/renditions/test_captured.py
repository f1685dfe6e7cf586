from __future__ import annotations

import numpy as np
import pytest

from actors.camera.renditions.captured import CapturedPicture, size_of
from actors.camera.sources.source import BadPicture, Picture
from router.rungs import Rung


@pytest.mark.parametrize(
    ("token", "source", "size"),
    [
        ("jpeg", (1281, 1023), (1281, 1023)),
        ("h264", (1281, 1023), (1280, 1022)),
        ("jpeg-480", (1920, 1080), (852, 480)),
        ("h264-480", (1920, 1080), (852, 480)),
        ("jpeg-720", (640, 480), (640, 480)),
        ("h264-480", (641, 480), (640, 480)),
        ("h264", (1, 1), (2, 2)),
        ("h264-240", (2, 4000), (2, 240)),
    ],
)
def test_a_rung_has_its_height_or_that_of_a_lower_source(
    token: str, source: tuple[int, int], size: tuple[int, int]
) -> None:
    assert size_of(Rung.of_token(token), *source) == size


def test_planes_of_a_size_are_made_once() -> None:
    captured = CapturedPicture(0, Picture(np.zeros((48, 64, 3), dtype=np.uint8), 0.0))

    assert captured.planes(32, 24) is captured.planes(32, 24)
    assert captured.planes(32, 24) is not captured.planes(64, 48)


def test_an_odd_picture_loses_a_line_and_is_not_blurred() -> None:
    pixels = np.zeros((5, 7, 3), dtype=np.uint8)
    pixels[:, ::2] = 255

    assert captured_luma(pixels, 6, 4) == [255, 0, 255, 0, 255, 0]


def captured_luma(pixels: np.ndarray, width: int, height: int) -> list[int]:
    planes = CapturedPicture(0, Picture(pixels, 0.0)).planes(width, height)
    return [int(value) for value in planes.arrays()[0][0]]


def test_what_is_no_picture_is_a_bad_picture() -> None:
    captured = CapturedPicture(0, Picture(np.zeros((4, 4, 7), dtype=np.uint8), 0.0))

    with pytest.raises(BadPicture):
        captured.planes(4, 4)
