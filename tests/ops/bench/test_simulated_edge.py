"""The loop of one simulated edge."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice

import pytest

from ops.bench.simulated_edge import EdgeRun, EdgeWork, arrivals, simulate

WORK = EdgeWork(
    connections=1000,
    publishes=100,
    events=1000,
    readers=(0.5, 0.0, 0.5),
    publish_cost=200e-6,
    event_cost=100e-6,
    background=0.0,
)


def run(work: EdgeWork, wake: float = 0.0, seconds: float = 20.0) -> EdgeRun:
    return simulate(work, wake, write=50e-6, delivery=10e-6, seconds=seconds, rng=random.Random(7))


def test_an_event_has_the_readers_that_it_has_on_average() -> None:
    assert WORK.mean_readers == 2.0
    assert replace(WORK, readers=(0.1, 0.3)).mean_readers == pytest.approx(1.75)
    assert replace(WORK, readers=()).mean_readers == 0.0


def test_what_comes_at_random_comes_at_its_rate() -> None:
    times = list(islice(arrivals(1000, random.Random(1)), 20_000))

    assert times == sorted(times) and times[-1] == pytest.approx(20.0, rel=0.03)
    assert not list(arrivals(0, random.Random(1)))


def test_an_edge_is_busy_for_what_all_that_came_costs() -> None:
    found = run(WORK)

    # 100 requests of 200 µs, and 1,000 events of 100 µs with two readers of 60 µs each.
    assert found.busy / found.seconds == pytest.approx(0.02 + 0.22, rel=0.05)
    assert len(found.events) == pytest.approx(20_000, rel=0.03) and len(found.publishes) == pytest.approx(
        2_000, rel=0.1
    )


def test_nothing_is_done_before_its_own_cost_and_that_of_the_wake_up() -> None:
    found = run(WORK, wake=1e-3)

    assert min(found.events) >= 0.999 * 1160e-6 and min(found.publishes) >= 0.999 * 1200e-6
    assert not found.overloaded


def test_wake_ups_are_shared_the_more_the_more_comes() -> None:
    quiet, busy = run(replace(WORK, events=50, publishes=0), wake=1e-3), run(replace(WORK, events=3000), wake=1e-3)

    assert quiet.batch < 1.2 < 3 < busy.batch
    assert not busy.overloaded


def test_what_heartbeats_take_makes_all_else_slower() -> None:
    found = run(replace(WORK, background=0.5))

    assert found.busy / found.seconds == pytest.approx(0.48, rel=0.05)
    assert min(found.events) >= 0.999 * 2 * 160e-6


@pytest.mark.parametrize(
    "work", [replace(WORK, events=5000), replace(WORK, background=0.8), replace(WORK, background=1.0)]
)
def test_more_than_a_core_can_do_is_an_overload(work: EdgeWork) -> None:
    assert run(work).overloaded


def test_an_edge_to_which_nothing_comes_sleeps() -> None:
    found = run(replace(WORK, events=0, publishes=0))

    assert (found.busy, found.events, found.overloaded) == (0.0, [], False)
