"""The values of a recovery are read strictly."""

from __future__ import annotations

import pytest

from edge.errors import Problem
from edge.webhooks.history.recovery_job import parse_moment, parse_rate


def test_rates_and_moments_are_read_strictly() -> None:
    assert (parse_rate(None), parse_rate(5)) == (100.0, 5.0)
    assert parse_moment("2026-01-01T00:00:00Z", "since") == parse_moment(1767225600, "since")
    for bad in (0, -1, True, "5", float("nan"), 1e9):
        with pytest.raises(Problem):
            parse_rate(bad)
    for worse in (None, True, [], {}):
        with pytest.raises(Problem):
            parse_moment(worse, "since")
