"""Fetches are a period apart on average, however long each takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.octane.pacing import FetchPacer


def run(pacer: FetchPacer, work: list[float]) -> list[float]:
    """When each fetch begins, where the next one is waited for once the work of the last is done."""
    now, begins = 100.0, []
    for seconds in work:
        now += pacer.remaining(now)
        pacer.begin(now)
        begins.append(now)
        now += seconds
    return begins


def test_work_does_not_add_to_the_period():
    begins = run(FetchPacer(30), [0.02] * 301)

    assert (begins[-1] - begins[0]) / 300 == pytest.approx(1 / 30)


def test_a_late_fetch_makes_the_next_wait_shorter():
    begins = run(FetchPacer(10), [0.15, 0.01, 0.01, 0.01])

    assert begins == pytest.approx([100, 100.15, 100.2, 100.3])


def test_a_pause_is_not_made_up_for_by_a_burst():
    begins = run(FetchPacer(10), [5.0, 0.0, 0.0])

    assert begins == pytest.approx([100, 105, 105.1])


def test_the_first_fetch_may_begin_at_once():
    assert FetchPacer(0.1).remaining(5.0) == 0


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=60), st.floats(0.5, 60))
def test_no_second_has_more_fetches_than_the_rate_and_one(work, fps):
    begins = run(FetchPacer(fps), work)

    for first, begin in enumerate(begins):
        within = [each for each in begins[first:] if each < begin + 1 - 1e-6]
        assert len(within) <= fps + 2
