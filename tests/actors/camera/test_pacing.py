from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.camera.pacing import MAX_FPS, MIN_FPS, WINDOW, CaptureMeter, Pacer


class ManualClock:
    """Time that passes only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


rates = st.floats(MIN_FPS, MAX_FPS)
starts = st.floats(0, 1e7)


@given(rates, starts, st.lists(st.floats(0, 30), max_size=60))
def test_the_next_deadline_is_always_ahead_and_never_more_than_one_period(
    fps: float, start: float, works: list[float]
) -> None:
    clock = ManualClock(start)
    pacer = Pacer(fps, clock())

    for work in works:
        clock.advance(max(0.0, pacer.remaining(clock())) + work)
        pacer.tick(clock())

        # Far from zero a float has steps; a deadline may be one of them away.
        assert 0 < pacer.remaining(clock()) <= 1 / fps + 1e-6


@given(rates, starts, st.lists(st.floats(0, 30), max_size=60))
def test_every_deadline_is_either_taken_or_counted_as_missed(fps: float, start: float, works: list[float]) -> None:
    clock = ManualClock(start)
    pacer = Pacer(fps, clock())
    taken = missed = 0

    for work in works:
        clock.advance(max(0.0, pacer.remaining(clock())) + work)
        missed += pacer.tick(clock())
        taken += 1

    assert pacer.deadline == pytest.approx(start + (taken + missed) / fps, abs=1e-6)


@given(rates, st.lists(st.floats(0, 0.99), min_size=20, max_size=100))
def test_work_shorter_than_a_period_never_slows_the_rate(fps: float, works: list[float]) -> None:
    clock = ManualClock()
    pacer = Pacer(fps, clock())
    missed = 0

    for share in works:
        clock.advance(max(0.0, pacer.remaining(clock())))
        missed += pacer.tick(clock())
        clock.advance(share / fps * 0.999)

    assert missed == 0
    assert clock() <= len(works) / fps + 1e-6


def test_a_million_pictures_do_not_drift() -> None:
    clock = ManualClock(1234.5)
    pacer = Pacer(30.0, clock())

    for _ in range(1_000_000):
        clock.now = pacer.deadline
        pacer.tick(clock())

    assert pacer.deadline == pytest.approx(1234.5 + 1_000_000 / 30, abs=1e-6)


def test_the_first_picture_is_due_at_once_and_a_stall_is_not_made_up_for() -> None:
    clock = ManualClock(100.0)
    pacer = Pacer(10.0, clock())

    assert pacer.remaining(clock()) == 0
    assert pacer.tick(clock()) == 0
    clock.advance(1.05)
    assert pacer.tick(clock()) == 9
    assert pacer.remaining(clock()) == pytest.approx(0.05)


def test_a_changed_rate_holds_at_once() -> None:
    clock = ManualClock(50.0)
    pacer = Pacer(0.1, clock())
    pacer.tick(clock())
    assert pacer.remaining(clock()) == pytest.approx(10.0)

    pacer.change(20.0, clock())

    assert pacer.remaining(clock()) == 0
    pacer.tick(clock())
    assert pacer.remaining(clock()) == pytest.approx(0.05)


@given(rates)
def test_even_pictures_are_measured_at_their_rate_without_jitter(fps: float) -> None:
    clock = ManualClock()
    meter = CaptureMeter()

    for _ in range(30):
        meter.mark(clock(), 1000)
        clock.advance(1 / fps)

    assert meter.fps == pytest.approx(fps, rel=1e-6)
    assert meter.bytes_per_second == pytest.approx(1000 * fps, rel=1e-6)
    assert meter.jitter_ms == pytest.approx(0, abs=1e-3)


def test_jitter_is_the_deviation_of_the_intervals() -> None:
    clock = ManualClock()
    meter = CaptureMeter()

    meter.mark(clock())
    for interval in (0.030, 0.040) * 10:
        clock.advance(interval)
        meter.mark(clock())

    assert meter.jitter_ms == pytest.approx(5.0, abs=0.1)


def test_the_meter_forgets_what_is_older_than_its_window() -> None:
    clock = ManualClock()
    meter = CaptureMeter()
    for _ in range(100):
        meter.mark(clock(), 10)
        clock.advance(0.1)

    for _ in range(int(WINDOW * 50) + 2):
        meter.mark(clock(), 10)
        clock.advance(0.02)

    assert meter.fps == pytest.approx(50.0, rel=0.02)


def test_nothing_is_measured_before_two_pictures() -> None:
    meter = CaptureMeter()
    assert (meter.fps, meter.bytes_per_second, meter.jitter_ms) == (0.0, 0.0, 0.0)

    meter.mark(1.0, 500)

    assert (meter.fps, meter.bytes_per_second, meter.jitter_ms) == (0.0, 0.0, 0.0)
