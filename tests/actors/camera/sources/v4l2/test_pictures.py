"""Pixels in the layouts of drivers: padded rows, planes, short buffers; which format is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from actors.camera.renditions.planes import scaled
from actors.camera.sources.source import BadPicture, FramePicture, SourceUnavailable
from actors.camera.sources.v4l2.pictures import BufferLayout, chosen, codec_of
from actors.camera.sources.v4l2.videodev import PixelFormat


def test_rows_with_padding_are_read_without_it() -> None:
    layout = BufferLayout.of(PixelFormat(width=5, height=3, bytesperline=16), "RGB3")
    rows = np.arange(3 * 16, dtype=np.uint8).reshape(3, 16)

    picture = layout.picture(rows.tobytes(), 1000.0)

    assert np.array_equal(picture.pixels, rows[:, :15].reshape(3, 5, 3))
    assert picture.time == 1000.0


def test_planes_with_padding_show_the_same_as_without() -> None:
    grey, half = np.full((8, 16), 120, np.uint8), np.full((4, 8), 90, np.uint8)
    padded = [np.pad(plane, ((0, 0), (0, width))) for plane, width in ((grey, 16), (half, 8), (half, 8))]

    bare = BufferLayout.of(PixelFormat(width=16, height=8, bytesperline=16), "YU12")
    wide = BufferLayout.of(PixelFormat(width=16, height=8, bytesperline=32), "YU12")

    shown = bare.picture(grey.tobytes() + 2 * half.tobytes(), 0).pixels
    assert shown.shape == (8, 16, 3) and shown.std(axis=(0, 1)).max() == 0
    assert np.array_equal(shown, wide.picture(b"".join(plane.tobytes() for plane in padded), 0).pixels)


@pytest.mark.parametrize(("code", "format"), [("YUYV", "yuyv422"), ("NV12", "nv12"), ("BA81", "bayer_bggr8")])
def test_formats_of_ffmpeg_reach_the_encoders_without_a_conversion(code: str, format: str) -> None:
    layout = BufferLayout.of(PixelFormat(width=16, height=8, bytesperline=0), code)

    picture = layout.picture(bytes([128]) * layout.size, 5.0)

    assert isinstance(picture, FramePicture)
    assert (picture.frame.format.name, picture.width, picture.height, picture.time) == (format, 16, 8, 5.0)
    planes = scaled(picture.frame, 8, 4)
    # Grey 128 of a camera's limited range is 130 in full range; what is no YUV has the full range already.
    assert abs(int(planes.rgb()[2, 4, 1]) - (128 if code == "BA81" else 130)) <= 4


def test_ten_bits_say_that_they_are_ten() -> None:
    samples = np.array([[0, 1023], [512, 256]], "<u2")

    picture = BufferLayout.of(PixelFormat(width=2, height=2, bytesperline=4), "Y10").picture(samples.tobytes(), 0)

    assert picture.bits == 10
    assert np.array_equal(picture.pixels, samples)


@pytest.mark.parametrize("code", ["YUYV", "NV12", "GREY", "BA81"])
def test_a_buffer_that_is_too_short_is_a_bad_picture(code: str) -> None:
    layout = BufferLayout.of(PixelFormat(width=16, height=8, bytesperline=0), code)

    with pytest.raises(BadPicture, match=f"and not {layout.size}"):
        layout.picture(bytes(layout.size - 1), 0)


def test_jpeg_is_chosen_before_pixels_and_h264_only_where_it_is_asked_for() -> None:
    has = ["YUYV", "H264", "MJPG"]

    assert chosen(None, has, "video0") == "MJPG"
    assert chosen("h264", has, "video0") == "H264"
    assert chosen("yuyv", has, "video0") == "YUYV"
    assert [codec_of(code) for code in has] == [None, "h264", "jpeg"]


def test_a_format_that_is_not_there_or_cannot_be_read_is_refused_with_those_that_can() -> None:
    with pytest.raises(SourceUnavailable, match=r"^video0 has no format nv12; it has YUYV$"):
        chosen("nv12", ["YUYV", "HM12"], "video0")
    with pytest.raises(SourceUnavailable, match=r"^video0 has no format that can be read here; it has none$"):
        chosen(None, ["HM12"], "video0")
