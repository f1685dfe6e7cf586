"""What is said of devices that cannot be opened; the rest of a device is tested in the virtual machine."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from actors.camera.sources.source import SourceUnavailable
from actors.camera.sources.v4l2.device import SizeRange, V4l2Device


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/dev/video-of-nobody", "there is no device video-of-nobody"),
        ("/dev/null", "null is not a V4L2 device"),
        (__file__, "test_device.py is not a device"),
        (f"{__file__}/video0", "there is no device video0"),
    ],
)
def test_a_device_that_cannot_be_opened_says_why_and_names_no_folder(path: str, text: str) -> None:
    device = V4l2Device(path)
    try:
        with pytest.raises(SourceUnavailable) as refused:
            device.open()
    finally:
        device.close()

    assert str(refused.value) == text
    assert device.fd == -1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENODEV, "video0 was unplugged"),
        (errno.EIO, "video0 reported an input/output error"),
        (errno.EBUSY, "video0 is in use by another program"),
        (errno.EACCES, "video0 may not be opened by this user (on most systems the group video may)"),
        (errno.EDOM, "video0 failed: Numerical argument out of domain"),
    ],
)
def test_an_error_of_the_driver_becomes_one_line(number: int, text: str) -> None:
    assert str(V4l2Device("/dev/video0").unavailable(OSError(number, ""))) == text


def test_a_size_is_shown_as_one_or_as_a_range() -> None:
    assert str(SizeRange((640, 480), (640, 480))) == "640x480"
    assert str(SizeRange((16, 16), (1920, 1080), (2, 2))) == "16x16 to 1920x1080"


def test_closing_what_was_never_open_does_nothing(tmp_path: Path) -> None:
    V4l2Device(str(tmp_path)).close()
