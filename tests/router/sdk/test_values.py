"""Tests of router/sdk/values.py."""

from __future__ import annotations

from typing import Any

import pytest

from router.errors import BadEvent
from router.sdk.values import error_data, plain, progress_data, text_of


@pytest.mark.parametrize(
    ("current", "total", "wanted"),
    [
        (1, 4, 0.25),
        (4, 4, 1.0),
        (9, 4, 1.0),
        (0, 4, 0.0),
        (True, 4, None),
        ("extract", 4, None),
        (1, 0, None),
        (-1, 4, None),
    ],
)
def test_progress_without_a_number_is_worked_out_from_the_steps(current: Any, total: int, wanted: float | None) -> None:
    assert progress_data(None, None, current, total, {}).get("progress") == wanted


def test_a_rounding_error_beyond_the_end_is_taken() -> None:
    assert progress_data(1.0000000002, "done", None, None, {"eta": 0}) == {"progress": 1.0, "message": "done", "eta": 0}


def test_data_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop

    with pytest.raises(BadEvent, match="contains itself"):
        plain(loop)


def test_an_exception_without_a_text_is_its_class() -> None:
    assert text_of(KeyError()) == "KeyError"
    assert error_data(TimeoutError(), None, True, 2, {"at": "x"}) == {
        "error": "TimeoutError",
        "error_type": "TimeoutError",
        "recoverable": True,
        "retry_count": 2,
        "at": "x",
    }
