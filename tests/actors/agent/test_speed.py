"""Tests of actors/agent/speed.py."""

from __future__ import annotations

import pytest

from actors.agent.speed import Measured, measure

SECOND = 1_000_000_000


def test_the_first_measurement_says_nothing_of_the_speed() -> None:
    speed = measure(None, None, 0, 0.1, 1, 10)

    assert (speed.measured, speed.rate, speed.eta_seconds) == (Measured(0, 0.1, 1, True), None, None)


def test_counts_give_a_rate_and_what_is_left() -> None:
    first = measure(None, None, 0, 0.0, 0, 100)
    speed = measure(first.measured, None, 2 * SECOND, 0.1, 10, 100)

    assert (speed.rate, speed.eta_seconds) == (5.0, 18.0)


def test_shares_give_a_rate_where_nothing_is_counted() -> None:
    speed = measure(Measured(0, 0.5, 0.5, False), None, SECOND, 0.6, None, None)

    assert speed.rate == pytest.approx(0.1) and speed.eta_seconds == pytest.approx(4.0)


def test_two_measurements_that_follow_closely_are_one() -> None:
    before = Measured(0, 0.5, 0.5, False)

    speed = measure(before, 1.0, SECOND // 100, 0.6, None, None)

    assert speed.measured is before and speed.rate is None


def test_what_was_a_share_and_is_counted_now_is_measured_anew() -> None:
    speed = measure(Measured(0, 0.5, 0.5, False), 0.1, SECOND, 0.6, 6, 10)

    assert speed.measured == Measured(SECOND, 0.6, 6, True) and speed.rate is None


def test_nothing_is_left_at_the_end() -> None:
    assert measure(Measured(0, 0.9, 9, True), 1.0, SECOND, 1.0, 10, 10).eta_seconds == 0.0
