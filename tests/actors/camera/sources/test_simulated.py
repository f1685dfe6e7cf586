from __future__ import annotations

import time
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actors.camera.encode import encode_jpeg
from actors.camera.sources.simulated import SimulatedSource, read_strip, write_strip


def opened(width: int = 640, height: int = 480, at: float = 1_700_000_000.25) -> SimulatedSource:
    source = SimulatedSource(width, height, wall=lambda: at)
    source.open()
    return source


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    with Image.open(BytesIO(encode_jpeg(pixels, quality))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("quality", [1, 30, 85, 95])
@pytest.mark.parametrize("size", [(640, 480), (320, 240), (1280, 720), (1919, 1081), (321, 1000), (2000, 240)])
def test_number_and_time_are_legible_after_jpeg_in_every_size(size: tuple[int, int], quality: int) -> None:
    picture = opened(*size).grab(4711)

    seen = through_jpeg(picture.pixels, quality)

    assert seen.shape == (size[1], size[0], 3)
    assert read_strip(seen) == (4711, 1_700_000_000_250 % 2**32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**42))
def test_every_number_and_time_comes_back_from_the_strip(seq: int, milliseconds: int) -> None:
    card = np.full((64, 320, 3), 90, dtype=np.uint8)

    write_strip(card, seq, milliseconds)

    assert read_strip(card) == (seq, milliseconds % 2**32)


def test_a_picture_without_a_strip_says_so() -> None:
    assert read_strip(np.full((480, 640, 3), 128, dtype=np.uint8)) is None
    assert read_strip(np.full((480, 640), 255, dtype=np.uint8)) is None
    assert read_strip(np.zeros((8, 8, 3), dtype=np.uint8)) is None


def test_the_number_for_people_is_drawn_in_legible_digits() -> None:
    source = opened()
    first, second = source.grab(1234567).pixels, source.grab(1234568).pixels

    changed = np.nonzero((first != second).any(axis=2))
    above_the_strip = changed[0] < 480 - 16
    rows, columns = changed[0][above_the_strip], changed[1][above_the_strip]

    # Only the last digit differs: one glyph, large enough to read, high in contrast.
    assert 8 <= np.ptp(rows) <= 30
    assert 6 <= np.ptp(columns) <= 20
    assert np.abs(first.astype(int) - second)[rows, columns].max() > 150


def test_the_word_simulated_is_on_every_picture_and_stays_where_it_is() -> None:
    one, other = opened(at=1000.0).grab(0).pixels, opened(at=1001.7).grab(50).pixels

    label = one[:30, :200]

    assert np.array_equal(label, other[:30, :200])
    amber = (label == (255, 184, 56)).all(axis=2)
    assert amber.sum() > 300


def test_the_picture_moves() -> None:
    one, later = opened(at=1000.0).grab(0).pixels, opened(at=1000.5).grab(0).pixels

    assert (one != later).any(axis=2).mean() > 0.5


def test_each_picture_has_an_array_of_its_own() -> None:
    source = opened()
    first = source.grab(1).pixels
    kept = first.copy()

    source.grab(2)

    assert np.array_equal(first, kept)


def test_a_vga_picture_costs_at_most_4_ms() -> None:
    source = SimulatedSource(640, 480)
    source.open()
    source.grab(0)

    # CPU time of this thread, and the best of five, so that a busy machine does not fail it.
    best = 1.0
    for _ in range(5):
        began = time.thread_time()
        for seq in range(20):
            source.grab(seq)
        best = min(best, (time.thread_time() - began) / 20)

    assert best <= 0.004
