"""Heartbeats are spread over their period, which is longer for those that come to a process with many connections."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub import heartbeats as module
from edge.hub.heartbeats import Heartbeats


class Reader:
    """A reader that nothing is asked of."""

    share_place = -1


def due(beats: Heartbeats) -> list[Any]:
    """The readers that are due at the next tick."""
    return [reader for each in beats.due() for reader in each.readers]


def enter(beats: Heartbeats, count: int, may_grow: bool = True) -> list[tuple[Any, int]]:
    readers: list[Any] = [Reader() for _ in range(count)]
    return [(reader, beats.enter(reader, may_grow)) for reader in readers]


def due_in(beats: Heartbeats, seconds: float) -> Counter[Any]:
    """How often each reader is due in a while."""
    found: Counter[Any] = Counter()
    for _ in range(round(seconds / beats.tick)):
        found.update(due(beats))
    return found


def test_who_comes_to_a_process_with_many_connections_has_a_longer_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 10)
    beats = Heartbeats()

    entered = enter(beats, 30)
    periods = [beats.period(place) for _, place in entered]

    assert periods == [12.0] * 10 + [24.0] * 10 + [54.0] * 10
    found = due_in(beats, 216.0)
    assert [found[reader] for reader, _ in entered] == [18] * 10 + [9] * 10 + [4] * 10


def test_phases_are_spread_evenly_over_the_readers_of_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 12)
    beats = Heartbeats()

    phases = [beats.phase(place) for _, place in enter(beats, 12 + 12 + 36)]

    assert Counter(phases[:12]) == {each / 4: 3 for each in range(4)}
    assert Counter(phases[24:]) == {each / 18: 2 for each in range(18)}


def test_whose_client_is_not_told_the_period_has_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 10)
    beats = Heartbeats()

    assert {beats.period(place) for _, place in enter(beats, 30, may_grow=False)} == {12.0}
    # And takes its room there.
    assert beats.period(enter(beats, 1)[0][1]) == 24.0


def test_a_setting_is_the_period_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 10)
    beats = Heartbeats(5.0)

    assert {beats.period(place) for _, place in enter(beats, 30)} == {5.0} and beats.shortest == 5.0


@pytest.mark.parametrize("fixed", [None, 0.05, 0.3, 1.0, 3600.0])
def test_no_tick_has_many_more_than_another(fixed: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 240)
    beats = Heartbeats(fixed)
    enter(beats, 960)

    ticks = round((54.0 if fixed is None else fixed) / beats.tick)
    counts = [len(due(beats)) for _ in range(ticks)]

    assert max(counts) - min(counts) <= 1 and sum(counts) == (1080 + 540 + 480 if fixed is None else 960)


def test_the_first_reader_of_a_quiet_process_is_due_after_a_whole_period() -> None:
    beats = Heartbeats(12.0)
    ((reader, _),) = enter(beats, 1)

    assert [due(beats) for _ in range(4)] == [[]] * 3 + [[reader]]


def test_nobody_is_due_for_a_whole_period_where_a_setting_asks_for_quiet() -> None:
    beats = Heartbeats(3600.0)
    enter(beats, 30)

    assert beats.tick == 3600.0 and len(due(beats)) == 30


def test_who_leaves_is_due_no_more_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEVEL_READERS", 2)
    beats = Heartbeats()
    (first, place), *_ = enter(beats, 3)

    beats.leave(first, place)
    beats.leave(first, place)

    assert first not in due_in(beats, 12.0)
    assert [beats.period(place) for _, place in enter(beats, 2)] == [12.0, 24.0]


@given(st.lists(st.tuples(st.sampled_from(("enter", "grow", "leave", "tick")), st.integers(0, 9)), max_size=300))
def test_whatever_comes_and_goes_nobody_waits_longer_than_its_period(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "LEVEL_READERS", 3)
        patched.setattr(module, "SLICES", 3)
        beats = Heartbeats()
        here: dict[Any, tuple[int, int]] = {}
        now = 0
        for step, which in steps:
            if step == "tick":
                now += 1
                for reader in due(beats):
                    here[reader] = (here[reader][0], now)
            elif step == "leave":
                if here:
                    reader = list(here)[which % len(here)]
                    beats.leave(reader, here.pop(reader)[0])
            else:
                ((reader, place),) = enter(beats, 1, step == "grow")
                here[reader] = (place, now)
            assert all((now - last) * beats.tick <= beats.period(place) for place, last in here.values())
