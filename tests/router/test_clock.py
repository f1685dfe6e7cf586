"""The store's time as seen from here: no jump of this machine's clock moves it, and the store's answers set it right."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.broker import Broker
from router.clock import TOLERANCE, StoreClock, ceiling, wall
from router.codec import rfc3339


class Machine:
    """A machine with a wall clock that may jump."""

    def __init__(self) -> None:
        self.uptime = 1000.0
        self.ahead = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.uptime

    def wall(self) -> float:
        return self.uptime + self.ahead


def test_a_jump_of_the_machine_s_clock_does_not_move_it() -> None:
    machine = Machine()
    clock = StoreClock(machine.monotonic, machine.wall)
    before = clock.now()

    machine.ahead += 3600.0
    machine.uptime += 8.0

    assert clock.now() == before + 8.0
    assert clock.now_ns() == pytest.approx((before + 8.0) * 1e9)


@given(off=st.floats(-1e8, 1e8), trip=st.floats(0.0, 2.0), given=st.floats(0.0, 1.0))
def test_an_answer_sets_it_to_the_store_s_time_within_half_a_trip(off: float, trip: float, given: float) -> None:
    machine = Machine()
    clock = StoreClock(machine.monotonic, machine.wall)
    begun = machine.uptime
    there = machine.wall() + off + trip * given
    machine.uptime += trip

    clock.saw(rfc3339(int(there * 1e9)), begun, machine.uptime)

    assert abs(clock.now() - (there + trip * (1 - given))) <= trip / 2 + 0.001


def test_answers_that_differ_by_less_than_the_network_does_not_move_it() -> None:
    machine = Machine()
    clock = StoreClock(machine.monotonic, machine.wall)
    clock.saw(rfc3339(int(machine.wall() * 1e9)), machine.uptime, machine.uptime)
    before = clock.now()

    clock.saw(rfc3339(int((machine.wall() + TOLERANCE / 2) * 1e9)), machine.uptime, machine.uptime)
    clock.saw(rfc3339(int((machine.wall() + 3600) * 1e9)), machine.uptime - 60.0, machine.uptime)
    for nonsense in (None, 7, "", "yesterday", "2026-13-01T00:00:00Z"):
        clock.saw(nonsense, machine.uptime, machine.uptime)

    assert clock.now() == before


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T08:00:00.5Z", 1_800_000_000.5),
        ("2027-01-15T08:00:00.123456789Z", 1_800_000_000.123456),
        ("2027-01-15T09:00:00.25+01:00", 1_800_000_000.25),
    ],
)
def test_times_are_read_as_nats_writes_them(said: str, seconds: float) -> None:
    clock = StoreClock(lambda: 0.0, lambda: 5.0)

    clock.saw(said, 0.0, 0.0)

    assert clock.now() == pytest.approx(seconds, abs=1e-5)


async def test_the_store_s_answers_set_the_process_s_clock(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "_offset", wall._offset + 3600.0)

    await broker.state()

    # The store is on this machine.
    assert abs(wall.now() - time.time()) < 30


def test_a_deadline_beyond_any_legal_one_counts_as_the_longest() -> None:
    assert ceiling(150.0, 100.0, 60.0) == 150.0
    assert ceiling(3700.0, 100.0, 60.0) == 160.0
    assert ceiling(0.0, 100.0, 60.0) == 0.0
