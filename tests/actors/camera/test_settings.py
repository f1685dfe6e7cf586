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
