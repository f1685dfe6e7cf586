"""Tests of router/nats/counters.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.nats.counters import BOUNDS, Delays


def test_a_delay_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    delays = Delays()

    for seconds in (BOUNDS[0], BOUNDS[0] * 1.001, BOUNDS[-1] + 1):
        delays.observe(seconds)

    assert delays.counts[:2] == [1, 1] and delays.counts[-1] == 1
    assert sum(delays.counts) == 3


def test_a_negative_delay_counts_as_none() -> None:
    delays = Delays()

    delays.observe(-5.0)

    assert (delays.counts[0], delays.sum) == (1, 0.0)


@given(st.lists(st.floats(-1, 20)), st.integers(0, 5))
def test_several_at_once_count_as_one_by_one(durations: list[float], count: int) -> None:
    together, each = Delays(), Delays()

    together.observe_all(durations)
    together.observe_many(0.3, count)
    for seconds in [*durations, *[0.3] * count]:
        each.observe(seconds)

    assert together.counts == each.counts
    assert together.sum == pytest.approx(each.sum)
