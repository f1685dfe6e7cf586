"""Tests of actors/camera/sources/source.py."""

from __future__ import annotations

import numpy as np

from actors.camera.sources.source import BadPicture, CameraError, Picture, SourceUnavailable


def test_a_picture_is_as_wide_and_high_as_its_pixels() -> None:
    grey, rgb = (Picture(np.zeros(shape, np.uint8), time=0.0) for shape in ((3, 5), (3, 5, 3)))

    assert (grey.width, grey.height) == (rgb.width, rgb.height) == (5, 3)


def test_an_error_without_a_text_says_its_docstring() -> None:
    assert str(SourceUnavailable()) == "the source cannot be opened, or gave up"
    assert str(BadPicture("truncated")) == "truncated" and isinstance(BadPicture(), CameraError)
