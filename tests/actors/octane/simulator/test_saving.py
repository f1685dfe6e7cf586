"""Tests of actors/octane/simulator/saving.py: what saveImage1 leaves on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from PIL import Image

from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call
from tests.waiting import eventually

SRGB, LINEAR = wire.NAMED_COLOR_SPACE_SRGB, wire.NAMED_COLOR_SPACE_LINEAR_SRGB


@pytest.mark.parametrize(
    ("save_format", "name", "pixels"),
    [
        (wire.IMAGE_SAVE_FORMAT_PNG_8, "PNG", "rgb24"),
        (wire.IMAGE_SAVE_FORMAT_PNG_16, "PNG", "rgb48be"),
        (wire.IMAGE_SAVE_FORMAT_TIFF_8, "TIFF", "rgb24"),
        (wire.IMAGE_SAVE_FORMAT_TIFF_16, "TIFF", "rgb48le"),
        (wire.IMAGE_SAVE_FORMAT_JPEG, "JPEG", None),
        (wire.IMAGE_SAVE_FORMAT_EXR_16, "EXR", "gbrpf32le"),
        (wire.IMAGE_SAVE_FORMAT_EXR_32, "EXR", "gbrpf32le"),
    ],
)
async def test_each_format_is_a_file_that_opens_with_the_picture(tmp_path, save_format, name, pixels):
    async with simulated(replace(LONG, save_directory=tmp_path)) as octane:
        await eventually(lambda: octane.render.samples > 2)
        await call(octane.address, "pauseRendering")
        space = LINEAR if name == "EXR" else SRGB
        for kind, at in ((wire.IMAGE_SAVE_FORMAT_PNG_8, "first.png"), (save_format, f"deep/er.{name.lower()}")):
            saved = await call(
                octane.address, "saveImage1", fullPath=at, imageSaveFormat=kind, colorSpace=SRGB if kind == 0 else space
            )
            assert saved.result

    path = tmp_path / "deep" / f"er.{name.lower()}"
    known = np.asarray(opened(tmp_path / "first.png")).astype(float)
    if pixels is None:
        assert opened(path).format == name and opened(path).size == (48, 27)
        return
    shown = read(path)
    assert shown.shape == (27, 48, 3)
    if name == "EXR":
        # Light does not end at white there, so only what is dark can be compared: it rises with the bytes.
        assert np.corrcoef(shown.mean(axis=2).ravel(), known.mean(axis=2).ravel())[0, 1] > 0.7
    else:
        assert np.abs(shown - known).max() <= 1


def opened(path: Path) -> Image.Image:
    """A picture that is in memory, and its file closed."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def read(path: Path) -> np.ndarray:
    """A picture's channels: light of an EXR, else 0 to 255."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        if frame.format.name == "gbrpf16le":  # which PyAV does not hand over itself
            green, blue, red = (np.frombuffer(plane, "<f2").reshape(frame.height, -1) for plane in frame.planes)
            return np.stack([red, green, blue], axis=2)[:, : frame.width].astype(float)
        values = frame.to_ndarray().astype(float)
        return values / 257 if values.max() > 255 else values


@pytest.mark.parametrize("path", ["../out.png", "/etc/out.png", ""])
async def test_a_path_outside_of_the_directory_is_refused(tmp_path, path):
    (tmp_path / "in").mkdir()
    async with simulated(replace(LONG, save_directory=tmp_path / "in")) as octane:
        await eventually(lambda: octane.render.samples)
        with pytest.raises(grpc.aio.AioRpcError, match="saves only below"):
            await call(octane.address, "saveImage1", fullPath=path, colorSpace=SRGB)

    assert [each.name for each in tmp_path.rglob("*")] == ["in"]


async def test_without_a_directory_or_a_sample_nothing_is_saved(tmp_path):
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples)
        with pytest.raises(grpc.aio.AioRpcError, match="no directory"):
            await call(octane.address, "saveImage1", fullPath="out.png", colorSpace=SRGB)
    async with simulated(replace(LONG, save_directory=tmp_path, samples_per_second=0.01)) as octane:
        assert not (await call(octane.address, "saveImage1", fullPath="out.png", colorSpace=SRGB)).result


@pytest.mark.parametrize("fields", [{"imageSaveFormat": 7}, {"colorSpace": wire.NAMED_COLOR_SPACE_OCIO}])
async def test_a_format_or_space_that_there_is_not_is_refused(tmp_path, fields):
    async with simulated(replace(LONG, save_directory=tmp_path)) as octane:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, "saveImage1", **({"fullPath": "a.png", "colorSpace": SRGB} | fields))
    assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_pass_that_is_not_enabled_is_not_saved(tmp_path):
    async with simulated(replace(LONG, save_directory=tmp_path, passes=2)) as octane:
        await eventually(lambda: octane.render.samples)
        results = [
            (
                await call(octane.address, "saveImage1", renderPassId=each, fullPath=f"{each}.png", colorSpace=SRGB)
            ).result
            for each in (wire.RENDER_PASS_Z_DEPTH, wire.RENDER_PASS_OBJECT_ID)
        ]

    assert results == [True, False]
    assert opened(tmp_path / "1003.png").size == (48, 27)
