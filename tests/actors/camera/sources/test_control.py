"""A control checks what is asked of it before any device hears of it."""

from __future__ import annotations

import pytest

from actors.camera.sources.control import Control

REGION = Control(
    "region",
    "region",
    least={"left": 0, "top": 0, "width": 16, "height": 16},
    most={"left": 624, "top": 464, "width": 640, "height": 480},
    unit="px",
)


@pytest.mark.parametrize(
    ("control", "given", "taken"),
    [
        (Control("exposure", "number", least=0.0001, most=1.0, unit="s"), 0.02, 0.02),
        (Control("flip", "switch"), True, True),
        (Control("mode", "choice", choices=("slow", "fast")), "fast", "fast"),
        (Control("auto_exposure", "button"), True, None),
        (
            REGION,
            {"left": 8, "top": 0, "width": 320, "height": 240.0},
            {"left": 8, "top": 0, "width": 320, "height": 240},
        ),
        (
            Control("size", "size", choices=({"width": 640, "height": 480},)),
            {"width": 640, "height": 480},
            {"width": 640, "height": 480},
        ),
    ],
)
def test_a_value_within_its_bounds_is_taken(control: Control, given: object, taken: object) -> None:
    assert control.checked(given) == taken


@pytest.mark.parametrize(
    ("control", "given", "said"),
    [
        (
            Control("exposure", "number", least=0.0001, most=1.0, unit="s"),
            2,
            "exposure must be a number from 0.0001 to 1 s",
        ),
        (Control("gain", "number", least=0.0, most=24.0), True, "gain must be a number from 0 to 24"),
        (Control("gain", "number"), float("nan"), "gain must be a number"),
        (Control("flip", "switch"), 1, "flip must be true or false"),
        (Control("mode", "choice", choices=("slow", "fast")), "other", "mode must be one of slow, fast"),
        (Control("auto_exposure", "button"), 5, "auto_exposure is a button and takes no value"),
        (REGION, {"left": 8}, "region must have left, top, width and height, and nothing else"),
        (
            REGION,
            {"left": 0, "top": 0, "width": 8, "height": 16},
            "region.width must be a whole number from 16 to 640",
        ),
        (
            REGION,
            {"left": 400, "top": 0, "width": 320, "height": 240},
            "region reaches beyond the picture: left + width must be at most 640",
        ),
        (
            REGION,
            {"left": 0.5, "top": 0, "width": 320, "height": 240},
            "region.left must be a whole number of pixels",
        ),
        (
            Control("size", "size", choices=({"width": 640, "height": 480},)),
            {"width": 1, "height": 1},
            "size must be one of 640x480",
        ),
    ],
)
def test_any_other_value_is_refused_with_what_would_be_taken(control: Control, given: object, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        control.checked(given)

    assert str(refused.value) == said
