"""The samples of a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.alerts.conditions import samples as module
from actors.alerts.conditions.samples import SampleRoom, Samples


def test_samples_lie_in_the_order_of_their_times_and_leave_when_they_are_old() -> None:
    samples = Samples(10, 100, True)
    for at, value in ((5, 1.0), (3, 2.0), (9, 0.5)):
        assert samples.add(at, value)

    assert list(samples.values) == [2.0, 1.0, 0.5] and samples.rank(1.0) == 2.0
    samples.expire(13)
    assert list(samples.times) == [5, 9] and samples.rank(1.0) == 1.0
    assert not samples.add(3, 9.0)


def test_where_there_is_no_room_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "room", SampleRoom(3))
    one, other = Samples(100, 100, False), Samples(100, 2, False)
    for at in range(5):
        one.add(at, float(at))

    assert list(one.times) == [2, 3, 4] and one.dropped == 2
    other.add(1, 1.0)
    assert len(other) == 1
    one.clear()
    for at in range(1, 5):
        other.add(at, 1.0)
    assert list(other.times) == [3, 4] and module.room.held == 2
    del other
    assert module.room.held == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-100, 100)), max_size=40), st.integers(0, 80))
def test_what_was_written_is_read_again(added: list[tuple[int, float]], now: int) -> None:
    samples, again = Samples(20, 15, True), Samples(20, 15, True)
    for at, value in added:
        samples.add(at, value)
    samples.expire(now)
    samples.holds = True

    if (raw := samples.dump()) is not None:
        again.load(raw)
        assert (list(again.times), list(again.values), again.now, again.began, again.holds) == (
            *(list(samples.times), list(samples.values), samples.now, samples.began),
            True,
        )
        assert not again.times or again.rank(0.5) == samples.rank(0.5)


@pytest.mark.parametrize("raw", [None, [], [1, 2, 3, "!", "!"], [0, 0, True, "AAAAAAAAAAA=", ""], {"a": 1}])
def test_what_is_no_window_is_refused(raw: object) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        Samples(20, 15, True).load(raw)
