"""How a control of the driver is shown; reading and setting them is tested in the virtual machine."""

from __future__ import annotations

from actors.camera.sources.control import Control
from actors.camera.sources.v4l2.controls import described, named
from actors.camera.sources.v4l2.videodev import ControlId, ControlType, QueryControl


def query(number: int, kind: ControlType, name: str, least: int = 0, most: int = 0, step: int = 1) -> QueryControl:
    return QueryControl(id=number, type=kind, name=name.encode(), minimum=least, maximum=most, step=step)


def test_the_exposure_is_shown_in_seconds() -> None:
    exposure = query(ControlId.EXPOSURE_ABSOLUTE, ControlType.INTEGER, "Exposure Time, Absolute", 3, 2047)

    assert described(exposure, {}) == Control("exposure", "number", None, 0.0003, 0.2047, 0.0001, "s")


def test_the_automatic_exposure_of_a_webcam_is_a_switch() -> None:
    automatic = query(ControlId.EXPOSURE_AUTO, ControlType.MENU, "Auto Exposure", 0, 3)

    assert described(automatic, {1: "Manual Mode", 3: "Aperture Priority Mode"}) == Control("auto_exposure", "switch")
    # One that cannot be switched off is shown with what there is.
    assert described(automatic, {3: "Aperture Priority Mode"}) == Control(
        "auto_exposure", "choice", choices=("Aperture Priority Mode",)
    )


def test_other_controls_have_the_devices_own_names_in_snake_case() -> None:
    assert named(query(0x0098090C, ControlType.INTEGER, "White Balance, Auto & Preset")) == "white_balance_auto_preset"
    assert named(query(ControlId.GAIN, ControlType.INTEGER, "Gain (dB)")) == "gain"


def test_a_control_of_the_device_cannot_take_the_name_of_one_that_means_something_else() -> None:
    assert named(query(0x08000001, ControlType.INTEGER, "Exposure")) == "exposure_08000001"
    assert named(query(0x08000002, ControlType.INTEGER, "Region")) == "region_08000002"


def test_kinds_that_no_page_can_show_are_left_out() -> None:
    assert described(QueryControl(id=0x00980001, type=6, name=b"User Controls"), {}) is None
    assert described(query(0x00980002, ControlType.MENU, "Empty menu"), {}) is None
