"""How often something may be done, on a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rates import EvenPace, TokenBucket


def test_a_token_bucket_begins_full_and_fills_up_at_its_rate() -> None:
    bucket = TokenBucket(2.0, 4.0, now=10.0)
    assert bucket.left(10.0) == 4.0

    bucket.take(4.0)

    assert bucket.wait(10.0) == pytest.approx(0.5)
    assert bucket.left(11.0) == pytest.approx(2.0)
    assert bucket.left(100.0) == 4.0


def test_a_token_bucket_that_was_overdrawn_makes_the_next_wait_longer() -> None:
    bucket = TokenBucket(1.0, 2.0, now=0.0)

    assert bucket.wait(0.0, 10.0) == 0.0
    bucket.take(10.0)

    assert bucket.left(0.0) == -8.0
    assert bucket.wait(0.0) == pytest.approx(9.0)


@given(st.floats(0.1, 50.0), st.lists(st.floats(0.0, 2.0), max_size=30))
def test_no_more_than_the_burst_and_the_rate_together_are_ever_given(rate: float, pauses: list[float]) -> None:
    bucket, now, given_out = TokenBucket(rate, 5.0, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        while bucket.wait(now) == 0.0:
            bucket.take(1.0)
            given_out += 1

    assert given_out <= 5.0 + rate * now + 1e-6 * max(1, given_out)


@given(st.floats(0.5, 100.0), st.floats(0.0, 0.09))
def test_an_even_pace_makes_up_for_steps_that_came_a_little_late(rate: float, late: float) -> None:
    pace, now = EvenPace(rate, 0.0), 0.0
    for _ in range(50):
        now += pace.wait(now)
        pace.take(now + (late if late < 1.0 / rate else 0.0))

    assert now == pytest.approx(49 / rate, abs=0.2 + 1 / rate)


@given(
    st.floats(0.5, 200.0),
    st.lists(st.floats(0.0, 0.3), max_size=30),
    st.floats(0.001, 0.05),
)
def test_in_no_second_are_there_more_posts_than_the_rate_and_never_more_than_the_rate_since_the_first(
    rate: float, late: list[float], step: float
):
    """However late and irregularly it is asked: what is late is caught up on for a tenth of a second at most."""
    now, taken = 100.0, []
    tokens = EvenPace(rate, now)
    while now < 102.0 or late:
        while not tokens.wait(now) and len(taken) < 20_000:
            tokens.take(now)
            taken.append(now)
        now += late.pop() if late else max(step, min(tokens.wait(now), 0.5))

    for first, begun in enumerate(taken):
        within = sum(begun <= at < begun + 1.0 for at in taken[first:])
        assert within <= 1.1 * rate + 1 + 1e-6
    assert all(n <= (at - 100.0) * rate + 1e-3 for n, at in enumerate(taken))


def test_a_rate_below_one_a_second_waits_as_long_as_it_says():
    slow = EvenPace(0.5, 0.0)

    slow.take(0.0)

    assert slow.wait(0.0) == pytest.approx(2.0)
    assert not slow.full(1.9) and slow.full(2.0)


def test_idle_time_is_not_saved_up():
    tokens = EvenPace(10.0, 0.0)
    tokens.take(0.0)

    taken = 0
    while not tokens.wait(60.0):
        tokens.take(60.0)
        taken += 1

    assert taken == 1
