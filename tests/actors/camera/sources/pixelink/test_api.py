"""The vendor's API through its wrapper: what is missing is said, and errors have the API's names."""

from __future__ import annotations

import ctypes

import pytest

from actors.camera.sources.pixelink.api import PixelinkCamera, PixelinkFault, load_api
from actors.camera.sources.source import SourceUnavailable


@pytest.mark.usefixtures("no_wrapper")
def test_without_the_wrapper_one_line_says_what_to_install() -> None:
    with pytest.raises(SourceUnavailable, match=r"^a Pixelink camera needs the package pixelinkWrapper \(pip install "):
        load_api()


def test_the_stand_in_and_the_wrapper_agree_on_the_descriptor_of_a_frame(camera: ctypes.CDLL) -> None:
    assert camera.fake_descriptor_size() == ctypes.sizeof(load_api()._FrameDesc)


def test_a_camera_that_is_not_there_has_the_apis_name_for_it(camera: ctypes.CDLL) -> None:
    with pytest.raises(PixelinkFault, match=r"^ApiInvalidSerialNumberError$"):
        PixelinkCamera(load_api(), 5)


def test_a_feature_has_flags_and_bounds_and_one_that_is_missing_is_none(camera: ctypes.CDLL) -> None:
    api = load_api()
    open_camera = PixelinkCamera(api, 776000123)

    gain = open_camera.feature(api.FeatureId.GAIN)
    assert gain is not None and gain.bounds == ((0.0, 24.0),)
    assert gain.flags & api.FeatureFlags.SETTABLE_WHILE_STREAMING
    assert open_camera.feature(api.FeatureId.FOCUS) is None
    open_camera.close()
    assert not camera.fake_opened()


def test_an_unknown_code_is_shown_as_the_number_that_it_is(camera: ctypes.CDLL) -> None:
    api = load_api()
    open_camera = PixelinkCamera(api, 776000123)
    with pytest.raises(PixelinkFault, match=r"^error 0x90000abc$"):
        open_camera._checked((0x90000ABC - (1 << 32),))
    open_camera.close()
