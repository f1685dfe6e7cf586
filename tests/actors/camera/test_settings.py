from __future__ import annotations

import math
from typing import Any

import pytest

from actors.camera.settings import CameraSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 0.05},
        {"fps": 241},
        {"fps": math.nan},
        {"fps": True},
        {"fps": "30"},
        {"quality": 0},
        {"quality": 96},
        {"quality": 85.5},
        {"width": 10},
        {"height": 100_000},
        {"linger": -1},
        {"silence": 0},
        {"source": ""},
    ],
)
def test_a_setting_out_of_range_is_named_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} must be") as refused:
        CameraSettings(**wrong)

    assert "\n" not in str(refused.value)


def test_size_and_rate_of_the_address_are_the_camera_s() -> None:
    settings = CameraSettings(source="sim:card?size=320x240&fps=12.5", width=640, height=480, fps=30)

    assert (settings.width, settings.height, settings.fps) == (320, 240, 12.5)


def test_settings_do_not_write_a_password() -> None:
    assert "hush" not in repr(CameraSettings(source="rtsp://u:hush@cam/one"))
