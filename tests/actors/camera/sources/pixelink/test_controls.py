"""Features of the camera as controls: bounds, effective values, and what is refused."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from actors.camera.sources.address import SourceAddress
from actors.camera.sources.pixelink.source import PixelinkSource
from tests.actors.camera.sources.pixelink.conftest import SERIAL


@pytest.fixture
def source(camera: ctypes.CDLL) -> Iterator[PixelinkSource]:
    source = PixelinkSource(SourceAddress.parse(f"pixelink:{SERIAL}"))
    source.open()
    yield source
    source.close()


def test_the_camera_has_its_controls_with_units_and_bounds_and_no_others(source: PixelinkSource) -> None:
    controls = {each.name: each for each in source.controls()}

    assert set(controls) == {
        *("exposure", "gain", "gamma", "saturation", "brightness", "frame_rate", "auto_exposure", "region"),
    }
    exposure = controls["exposure"]
    assert (exposure.value, exposure.least, exposure.most, exposure.unit) == (0.01, 0.0001, 2, "s")
    assert controls["auto_exposure"].kind == "button"
    assert controls["region"].value == {"left": 0, "top": 0, "width": 1280, "height": 1024}


def test_a_value_is_set_and_the_effective_one_comes_back(source: PixelinkSource) -> None:
    assert source.set_control("exposure", 0.033) == 0.033
    assert source.set_control("gain", 4) == 4.5
    assert {each.name: each.value for each in source.controls()}["gain"] == 4.5


def test_the_exposure_is_found_once(source: PixelinkSource) -> None:
    assert source.set_control("auto_exposure", None) is None
    assert {each.name: each.value for each in source.controls()}["exposure"] == 0.025


def test_a_region_is_set_between_two_streams_and_pictures_have_its_size(
    source: PixelinkSource, camera: ctypes.CDLL
) -> None:
    wanted = {"left": 100, "top": 50, "width": 333, "height": 222}

    assert source.set_control("region", wanted) == {"left": 96, "top": 48, "width": 328, "height": 216}

    assert camera.fake_streaming()
    picture = source.grab(0)
    assert picture is not None and (picture.width, picture.height) == (328, 216)


def test_the_frame_rate_is_set_between_two_streams(source: PixelinkSource, camera: ctypes.CDLL) -> None:
    assert source.set_control("frame_rate", 12.5) == 12.5
    assert camera.fake_streaming() and source.grab(0) is not None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("gain", 25, r"^gain must be a number from 0 to 24 dB$"),
        ("exposure", "long", r"^exposure must be a number from 0.0001 to 2 s$"),
        ("temperature", 20, r"^the camera has no control temperature$"),
        ("region", {"left": 1000, "top": 0, "width": 640, "height": 480}, r"^region reaches beyond the picture"),
    ],
)
def test_what_the_camera_does_not_take_is_refused_and_changes_nothing(
    source: PixelinkSource, name: str, value: object, text: str
) -> None:
    before = source.controls()

    with pytest.raises(ValueError, match=text):
        source.set_control(name, value)  # type: ignore[arg-type]

    assert source.controls() == before
