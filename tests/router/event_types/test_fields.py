"""Tests the shares of progress: from 0 to 1, or in percent where that is said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadData
from router.event_types.fields import TOLERANCE, Shares, check_share


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"progress": 1.1}, "progress"),
        ({"progress": -0.1}, "progress"),
        ({"progress": 50, "percent": False}, "progress"),
        ({"progress": 100.5, "percent": True}, "progress"),
        ({"percent": 101}, "percent"),
        ({"progress": 0.5, "percent": -1}, "percent"),
    ],
)
def test_a_share_outside_its_range_is_refused_by_its_name(data: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert(data, Shares)
    cause = fault.value.__cause__
    assert isinstance(cause, BadData) and cause.field == field


@given(st.floats(0, 1))
def test_a_share_is_accepted_in_each_form_and_with_a_rounding_error(share: float) -> None:
    for data in (
        {"progress": share},
        {"progress": share * 100, "percent": True},
        {"percent": share * 100},
        {"progress": share + TOLERANCE / 2},
        {"progress": share, "percent": share * 100},
    ):
        msgspec.convert(data, Shares)


def test_who_gives_a_percentage_as_a_share_is_told_how_to_say_it() -> None:
    with pytest.raises(BadData, match="a percentage is given as percent"):
        check_share("progress", 65, 1)
    with pytest.raises(BadData, match=r"from 0 to 100, not 650$"):
        check_share("percent", 650, 100)
