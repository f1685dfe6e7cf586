"""Late events and deadlines, in the order of their times."""

from __future__ import annotations

from actors.alerts import lanes
from actors.alerts.lanes import Arrived, Deadline, Lane
from tests.actors.alerts.feeding import event


def put(lane: Lane[str], at: int) -> Arrived[str] | None:
    return lane.put(at, f"m{at}", event(0), ["w"])


def test_events_wait_until_none_can_come_before_them_and_deadlines_lie_between_them() -> None:
    lane: Lane[str] = Lane(10)
    assert [put(lane, at) for at in (25, 21, 23)] == [None] * 3
    lane.schedule(22, 0, "k", "owner", "item")
    lane.schedule(23, 0, "k", "owner", "item")

    assert [each.at for each in lane.settle(31)] == []
    assert [(type(each).__name__, each.at) for each in lane.settle(34)] == [
        ("Arrived", 21),
        ("Deadline", 22),
        ("Arrived", 23),
        ("Deadline", 23),
    ]


def test_one_that_comes_behind_its_time_is_counted_and_does_not_wait() -> None:
    lane: Lane[str] = Lane(10)
    list(lane.settle(50))

    late = put(lane, 39)
    assert late is not None and late.late and lane.late == 1
    assert put(lane, 40) is None


def test_without_lateness_nothing_waits_and_deadlines_count_at_once() -> None:
    lane: Lane[str] = Lane(0)
    lane.schedule(5, 1, "b", "o", 1)
    lane.schedule(5, 0, "z", "o", 2)

    assert put(lane, 7) is not None
    assert [each.item for each in lane.settle(5) if isinstance(each, Deadline)] == [2, 1]


def test_of_too_many_the_oldest_does_not_wait_any_longer() -> None:
    lane: Lane[str] = Lane(10**9)
    for at in range(lanes.MAX_WAITING + 5):
        put(lane, at)

    assert [each.at for each in lane.settle(0)] == [0, 1, 2, 3, 4]
    assert len(lane.waiting) == lanes.MAX_WAITING
