from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace

from edge.webhooks.client.outcome import Outcome, of_status
from edge.webhooks.endpoint.breaker import CircuitBreaker, CircuitBreakerSettings
from edge.webhooks.endpoint.state import EndpointState

GOOD, BAD = of_status(200, None, 0.0), of_status(500, None, 0.0)
BUSY = of_status(503, None, 0.0)
SETTINGS = CircuitBreakerSettings(warn_after=(86400.0,), pause=30.0)
DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def healthy(clock: Clock, state: EndpointState | None = None, concurrency: int = 8) -> CircuitBreaker:
    return CircuitBreaker(SETTINGS, concurrency, state, clock, jitter=lambda low, high: (low + high) / 2)


def note(breaker: CircuitBreaker, *outcomes: Outcome) -> list[str]:
    return [change.name for outcome in outcomes for change in breaker.record(outcome, 8)]


def test_five_failures_in_a_row_open_the_breaker(clock: Clock):
    breaker = healthy(clock)

    assert note(breaker, *[BAD] * 4, GOOD, *[BAD] * 4) == []
    assert note(breaker, BAD) == ["opened"]
    assert (breaker.state, breaker.places(8), breaker.blocked_for) == ("open", 0, 30.0)


def test_half_of_ten_within_a_minute_open_it_and_what_is_older_does_not_count(clock: Clock):
    breaker = healthy(clock)
    assert note(breaker, *[GOOD, BAD] * 4) == []
    clock.now += 61
    assert note(breaker, *[GOOD, BAD] * 4) == []
    assert note(breaker, GOOD, BAD) == ["opened"]


def test_an_open_breaker_probes_one_at_a_time_and_closes_after_three_successes(clock: Clock):
    breaker = healthy(clock)
    note(breaker, *[BAD] * 5)

    clock.now += 29.9
    assert breaker.places(8) == 0
    clock.now += 0.2
    assert (breaker.places(8), breaker.state) == (1, "half_open")
    assert note(breaker, GOOD, GOOD) == []
    assert note(breaker, GOOD) == ["closed", "recovered"]


def test_after_it_closed_the_posts_under_way_grow_step_by_step(clock: Clock):
    breaker = healthy(clock)
    note(breaker, *[BAD] * 5)
    clock.now += 31
    breaker.places(8)
    note(breaker, *[GOOD] * 3)

    places = []
    for _ in range(8):
        places.append(breaker.places(8))
        note(breaker, GOOD)

    assert places == [1, 2, 3, 4, 5, 6, 7, 8]
    assert breaker.places(8) == 8


def test_a_probe_that_fails_opens_it_for_twice_as_long_and_never_for_more_than_a_quarter_of_an_hour(clock: Clock):
    breaker = healthy(clock)
    note(breaker, *[BAD] * 5)
    lengths = []

    for _ in range(8):
        lengths.append(round(breaker.blocked_for))
        clock.now = breaker.until
        assert breaker.places(8) == 1
        assert note(breaker, BAD) == []

    assert lengths == [30, 60, 120, 240, 480, 900, 900, 900]


def test_trips_are_forgotten_in_good_times(clock: Clock):
    breaker = healthy(clock)
    note(breaker, *[BAD] * 5)
    clock.now = breaker.until
    breaker.places(8)
    note(breaker, *[GOOD] * 3)

    clock.now += 700
    note(breaker, *[BAD] * 5)

    assert (breaker.trips, breaker.blocked_for) == (1, 30.0)


def test_a_plea_for_patience_is_no_failure_but_halves_the_pace(clock: Clock):
    breaker = healthy(clock)

    assert note(breaker, BUSY, BUSY) == []

    assert (breaker.state, breaker.failures, breaker.places(8)) == ("closed", 0, 2)
    note(breaker, GOOD, GOOD)
    assert breaker.places(8) == 4


def test_an_endpoint_that_says_how_long_is_left_alone_as_a_whole(clock: Clock):
    breaker = healthy(clock)

    note(breaker, of_status(429, "20", 0.0))

    assert breaker.places(8) == 0 and 20 <= breaker.blocked_for <= 22
    clock.now += 22
    assert breaker.places(8) == 4


def test_an_endpoint_that_asks_again_and_again_is_left_alone_for_longer_and_longer(clock: Clock):
    breaker = healthy(clock)
    pauses = []

    for _ in range(6):
        note(breaker, BUSY)
        pauses.append(breaker.blocked_for)
        clock.now += breaker.blocked_for

    assert pauses[:2] == [0, 0] and pauses[2:] == pytest.approx([0.75, 1.5, 3.0, 6.0])


def test_days_without_a_success_end_in_a_warning_and_then_in_its_being_disabled(clock: Clock):
    breaker = healthy(clock)
    announced = []

    for hour in range(6 * 24):
        breaker.places(8)
        announced += [(hour // 24, name) for name in note(breaker, BAD) if name != "opened"]
        clock.now += 3600

    assert announced == [(1, "failing"), (5, "disabled")]
    assert (breaker.places(8), breaker.blocked_for) == (0, float("inf"))


def test_few_attempts_in_many_days_do_not_disable(clock: Clock):
    breaker = healthy(clock)

    for _ in range(10):
        note(breaker, BAD)
        clock.now += DAY

    assert breaker.state != "disabled"


def test_a_success_after_a_warning_is_told(clock: Clock):
    breaker = healthy(clock)
    note(breaker, BAD)
    clock.now += DAY + 1

    assert note(breaker, BAD) == ["failing"]
    assert note(breaker, GOOD) == ["recovered"]
    assert note(breaker, GOOD) == []


def test_an_endpoint_that_is_gone_is_disabled_at_once(clock: Clock):
    breaker = healthy(clock)

    assert note(breaker, of_status(410, None, 0.0)) == ["disabled"]
    assert note(breaker, GOOD, BAD) == []
    assert [change.name for change in breaker.enable()] == ["enabled"]
    assert (breaker.state, breaker.places(8)) == ("closed", 1)


def test_what_is_kept_goes_on_at_the_next_owner(clock: Clock):
    breaker = healthy(clock)
    note(breaker, *[BAD] * 5)
    clock.now += 10

    kept = msgspec.json.decode(msgspec.json.encode(breaker.snapshot(7, clock.now)), type=EndpointState)
    successor = healthy(clock, kept)

    assert (successor.state, successor.blocked_for, successor.trips) == ("open", 20.0, 1)
    shown = kept.describe(rate=2.0, now=clock.now)
    assert (shown["state"], shown["trips"], shown["parked"], shown["rate"]) == ("open", 1, 7, 2.0)
    assert shown["until"] and shown["oldest_parked_seconds"] == 0


def test_whatever_comes_the_places_are_never_more_than_may_be_nor_stuck_for_ever(clock: Clock):
    rng = random.Random(7)
    outcomes = [GOOD, BAD, BUSY, of_status(429, "3", 0.0), replace(BAD, status=0, fault="timeout")]
    breaker = CircuitBreaker(CircuitBreakerSettings(), 8, None, clock, rng.uniform)

    for _ in range(20_000):
        places = breaker.places(8)
        assert 0 <= places <= 8 and (places == 1 or breaker.state == "closed" or places == 0)
        if places:
            note(breaker, rng.choice(outcomes))
            clock.now += rng.choice((0.0, 0.1, 5.0))
        else:
            assert 0 < breaker.blocked_for <= 900 * 1.2 + 1 and breaker.state != "disabled"
            clock.now += breaker.blocked_for


@pytest.mark.parametrize("state", ["closed", "open"])
def test_a_stored_pause_longer_than_any_there_is_counts_as_over(clock: Clock, state: str):
    longest = max(SETTINGS.max_pause * (1 + SETTINGS.jitter), 3600.0 * 1.1)
    stored = EndpointState(state=state, until=clock.now + 7200.0)

    beyond, legal = healthy(clock, stored), healthy(clock, replace(stored, until=clock.now + longest))

    assert beyond.blocked_for == 0.0
    assert beyond.places(8) > 0
    assert legal.blocked_for == pytest.approx(longest)
    assert legal.places(8) == 0


def test_a_pause_is_over_where_the_clock_was_ahead_and_is_right_again(clock: Clock):
    breaker = healthy(clock)
    clock.now += 86400.0
    assert note(breaker, *[BAD] * 5) == ["opened"]
    clock.now -= 86400.0

    assert breaker.places(8) == 1
    assert breaker.state == "half_open"


def test_a_pause_that_was_asked_for_is_shown_as_one_and_the_state_of_the_breaker_otherwise(clock: Clock):
    breaker = healthy(clock)
    note(breaker, of_status(429, "20", 0.0))

    shown = breaker.snapshot().describe(now=clock.now)
    assert (shown["state"], shown["reason"]) == ("paused", "throttled (HTTP 429)")
    assert shown["until"] is not None and breaker.shown_state == "paused"
    # It is shown by processes that heard of it once.
    kept = breaker.snapshot()
    clock.now += 23
    over = kept.describe(now=clock.now)
    assert (over["state"], over["reason"], over["until"]) == ("closed", None, None)
    assert breaker.shown_state == "closed"
    note(breaker, *[BAD] * 5)
    assert breaker.snapshot().describe(now=clock.now)["state"] == "open"
