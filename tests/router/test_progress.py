"""Reading how far a run is, and keeping it from going back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.progress import COUNTS, forward, share


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"progress": 0.5}, 0.5),
        ({"progress": 50, "percent": True}, 0.5),
        ({"percent": 50}, 0.5),
        ({"current": 3, "total": 4}, 0.75),
        ({"current_step": 3, "total_steps": 4}, 0.75),
        ({"current_step": "rendering", "total_steps": 4}, None),
        ({"currentFrame": 150, "totalFrames": 300, "fps": 24}, 0.5),
        ({"current": 5, "total": 4}, 1.0),
        ({"current": 5, "total": 0}, None),
        ({"progress": 1.0000001}, 1.0),
        ({"progress": 45}, None),
        ({"progress": -0.5}, None),
        ({"progress": "half"}, None),
        ({"progress": True}, None),
        ({"progress": float("nan")}, None),
        ({"percent": True}, None),
        ({"message": "on it"}, None),
    ],
    ids=str,
)
def test_the_share_is_read_from_what_the_types_carry(data: dict[str, Any], said: float | None) -> None:
    assert share(data) == said


@pytest.mark.parametrize(
    ("data", "raised"),
    [
        ({"progress": 0.3, "message": "m"}, {"progress": 0.5, "message": "m"}),
        ({"progress": 30, "percent": True}, {"progress": 50, "percent": True}),
        ({"percent": 30}, {"percent": 50}),
        ({"progress": 0.3, "current": 3, "total": 10}, {"progress": 0.5, "current": 5, "total": 10}),
        ({"current": 3, "total": 10}, {"progress": 0.5, "current": 5, "total": 10}),
        ({"progress": 0.3, "current_step": "b"}, {"progress": 0.5, "current_step": "b"}),
        ({"message": "m"}, {"message": "m"}),
        ({"progress": 0.7}, {"progress": 0.7}),
        ({"progress": "half"}, {"progress": "half"}),
    ],
    ids=str,
)
def test_what_is_below_the_floor_is_raised_and_the_rest_is_kept(data: dict[str, Any], raised: dict[str, Any]) -> None:
    assert forward(data, 0.5) == raised


_numbers = st.floats(-0.5, 1.5, allow_nan=False) | st.integers(0, 120) | st.none() | st.booleans() | st.just("text")
_data = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(["progress", "percent", *(name for pair in COUNTS for name in pair), "message"], _numbers),
)


@given(st.lists(_data, max_size=8))
def test_a_series_of_events_never_goes_back_and_forward_changes_nothing_twice(series: list[dict[str, Any]]) -> None:
    floor = 0.0
    for data in series:
        raised = forward(data, floor)
        said = share(raised)
        assert (said is None) == (share(data) is None)
        if said is not None:
            assert said >= floor - 1e-9
            assert forward(raised, said) == raised
            floor = max(floor, said)
