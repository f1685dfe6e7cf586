"""Pictures of a Pixelink camera under the vendor's wrapper, and each fault that its library can report."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from actors.camera.sources.address import SourceAddress
from actors.camera.sources.pixelink.api import load_api
from actors.camera.sources.pixelink.source import PixelinkSource
from actors.camera.sources.source import BadPicture, Picture, SourceUnavailable
from tests.actors.camera.sources.pixelink.conftest import SERIAL

SMALL = f"pixelink:{SERIAL}?size=64x48&fps=60"


@contextmanager
def opened(address: str = SMALL, clock: Callable[[], float] = time.monotonic) -> Iterator[PixelinkSource]:
    source = PixelinkSource(SourceAddress.parse(address), clock)
    try:
        source.open()
        yield source
    finally:
        source.close()


def picture_of(source: PixelinkSource) -> Picture:
    picture = source.grab(0)
    assert picture is not None
    return picture


def test_pictures_have_colours_the_size_asked_for_and_the_cameras_time(camera: ctypes.CDLL) -> None:
    with opened() as source:
        first, second = picture_of(source), picture_of(source)

    assert first.pixels.shape == (48, 64, 3)
    assert tuple(second.pixels[0, 0]) == (2, 64, 0), "the second frame, row 0"
    # Taken when the exposure of 10 ms began, by the camera's own clock.
    assert time.time() - second.time / 1000 >= 0.008
    assert 5 < second.time - first.time < 200
    assert not camera.fake_opened()


def test_a_grey_camera_gives_grey_pictures(camera: ctypes.CDLL) -> None:
    camera.fake_grey(1)
    with opened() as source:
        pixels = picture_of(source).pixels

    assert pixels.shape == (48, 64) and pixels.dtype == np.uint8
    assert list(pixels[:3, 0]) == [1, 2, 3]


def test_a_picture_that_was_given_is_never_written_to_again(camera: ctypes.CDLL) -> None:
    camera.fake_grey(1)
    with opened() as source:
        first = picture_of(source)
        before = first.pixels.copy()
        picture_of(source)

    assert np.array_equal(first.pixels, before)


def test_a_camera_without_a_clock_gives_the_time_of_arrival(camera: ctypes.CDLL) -> None:
    camera.fake_no_clock(1)
    with opened() as source:
        taken = picture_of(source).time

    assert abs(time.time() * 1000 - taken) < 1000


def test_frames_that_were_lost_are_counted_by_the_cameras_numbers(camera: ctypes.CDLL) -> None:
    with opened() as source:
        picture_of(source)
        camera.fake_skip(3)
        picture_of(source)

        assert source.lost == 3


@pytest.mark.parametrize("name", ["ApiInvalidFrameReceivedError", "ApiBadFrameSizeError", "ApiUnknownError"])
def test_a_damaged_frame_is_one_bad_picture_and_the_next_is_good(camera: ctypes.CDLL, name: str) -> None:
    with opened() as source:
        picture_of(source)
        camera.fake_fault(getattr(load_api().ReturnCode, name))

        with pytest.raises(BadPicture, match=rf"^a frame of camera {SERIAL} is damaged \({name}\)$"):
            source.grab(0)

        picture_of(source)


def test_an_unplugged_camera_is_noticed_at_once_and_can_be_opened_when_it_is_back(camera: ctypes.CDLL) -> None:
    code = load_api().ReturnCode.ApiNoCameraError
    with opened() as source:
        picture_of(source)
        camera.fake_fault(code)

        with pytest.raises(SourceUnavailable, match=rf"^camera {SERIAL} was disconnected \(ApiNoCameraError\)$"):
            source.grab(0)

    with pytest.raises(SourceUnavailable, match=rf"^camera {SERIAL} was disconnected \(ApiNoCameraError\)$"), opened():
        pass
    camera.fake_fault(0)
    with opened() as source:
        picture_of(source)


def test_a_camera_that_only_times_out_counts_as_hung_within_three_seconds(camera: ctypes.CDLL) -> None:
    seconds = [0.0]
    with opened(clock=lambda: seconds[0]) as source:
        picture_of(source)
        camera.fake_fault(load_api().ReturnCode.ApiCameraTimeoutError)

        assert source.grab(0) is None
        seconds[0] = 2.6
        with pytest.raises(SourceUnavailable, match=rf"^camera {SERIAL} gave no picture for 2 s$"):
            source.grab(0)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("pixelink:5", r"^camera 5 is not connected \(ApiInvalidSerialNumberError\)$"),
        ("pixelink:camera", r"^the serial number of a Pixelink camera is a whole number$"),
        (
            f"pixelink:{SERIAL}?size=4000x3000",
            rf"^camera {SERIAL}: it has no size 4000x3000; its sensor has 1280x1024$",
        ),
    ],
)
def test_what_cannot_be_opened_says_why_and_leaves_the_camera_free(
    camera: ctypes.CDLL, address: str, text: str
) -> None:
    with pytest.raises(SourceUnavailable, match=text), opened(address):
        pass

    assert not camera.fake_opened()


def test_a_camera_that_another_program_uses_is_said_to_be_in_use(camera: ctypes.CDLL) -> None:
    camera.fake_occupy(1)
    with (
        pytest.raises(
            SourceUnavailable, match=rf"^camera {SERIAL} is in use by another program \(ApiCameraInUseError\)$"
        ),
        opened(),
    ):
        pass


def test_serial_number_zero_is_the_first_camera(camera: ctypes.CDLL) -> None:
    with opened("pixelink:0?size=64x48") as source:
        assert picture_of(source).width == 64


@pytest.mark.usefixtures("no_wrapper")
def test_without_the_wrapper_opening_says_what_to_install() -> None:
    with pytest.raises(SourceUnavailable, match=r"pip install pixelinkWrapper"), opened():
        pass
