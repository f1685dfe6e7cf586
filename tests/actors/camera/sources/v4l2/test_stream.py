"""A stream whose device gives nothing or is none; the rest is tested in the virtual machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors.camera.sources.source import SourceUnavailable
from actors.camera.sources.v4l2.device import V4l2Device
from actors.camera.sources.v4l2.stream import V4l2Stream


@pytest.fixture
def pipe() -> Iterator[tuple[V4l2Device, int]]:
    """A device whose descriptor is the end of a pipe, and the other end of it."""
    device = V4l2Device("/dev/video0")
    device.fd, other = os.pipe()
    yield device, other
    device.close()


def test_a_device_without_a_picture_gives_none_after_the_wait(pipe: tuple[V4l2Device, int]) -> None:
    device, other = pipe
    assert V4l2Stream(device).next(0.01) is None
    os.close(other)


def test_a_device_that_polls_nothing_but_an_error_is_unavailable(pipe: tuple[V4l2Device, int]) -> None:
    device, other = pipe
    os.close(other)

    with pytest.raises(SourceUnavailable, match=r"^video0 is not a V4L2 device$"):
        V4l2Stream(device).next(1.0)


def test_a_stream_that_never_began_can_be_stopped(pipe: tuple[V4l2Device, int]) -> None:
    device, other = pipe
    V4l2Stream(device).stop()
    os.close(other)
