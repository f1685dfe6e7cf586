"""Codecs are compared at equal similarity, which is 1 for the same picture and falls with what is changed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ops.bench.camera_codecs import compare, run, ssim
from ops.bench.stand import BenchError, Plan


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten pictures of a gradient that moves, with noise."""
    rng, path = np.random.default_rng(7), tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        across = np.linspace(0, 200, 160)
        for number in range(10):
            grey = np.roll(np.tile(across, (96, 1)), 3 * number, 1) + rng.normal(0, 3, (96, 160))
            picture = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, 2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_similarity_is_one_for_the_same_picture_and_falls_with_noise():
    rng = np.random.default_rng(1)
    picture = rng.uniform(0, 255, (64, 64))

    alike = [ssim(picture, picture + rng.normal(0, sigma, picture.shape)) for sigma in (0, 5, 50)]

    assert alike[0] == pytest.approx(1.0)
    assert alike[0] > alike[1] > alike[2]


def test_a_film_gives_the_bytes_of_both_codecs(clip: Path):
    h264, jpeg, share, cpu = compare(clip)

    assert h264.figure and jpeg.figure and cpu.figure
    assert share.figure == pytest.approx(100 * h264.figure / jpeg.figure)


async def test_without_a_film_the_comparison_is_left_out_and_says_how_to_give_one():
    (row,) = [row async for row in run(Plan())]

    assert row.figure is None and "--clip" in row.note


async def test_what_is_no_film_is_named(tmp_path: Path):
    (tmp_path / "no.mp4").write_bytes(b"rubbish")

    with pytest.raises(BenchError, match=r"no\.mp4"):
        _ = [row async for row in run(Plan(clip=tmp_path / "no.mp4"))]
