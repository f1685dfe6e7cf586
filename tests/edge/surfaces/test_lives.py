"""Which events belong to a life, which one ends it, and where the lives of a run are found."""

from __future__ import annotations

import pytest

from edge.surfaces.lives import LifeEnding, RunLife
from router.codec import encode
from router.event import Event
from router.record import Record


def record(sequence: int, kind: str, **data: object) -> Record:
    event = Event.new(f"thread.t.{kind}", data)
    return Record(sequence, str(event.subject), encode(event))


LAST = RunLife(domain="thread", name="t", begin=9, started=20)
TURN = RunLife(domain="thread", name="t", begin=19, started=20, incarnation="b")


@pytest.mark.parametrize(
    ("life", "event", "said"),
    [
        # Of the life before.
        (LAST, record(9, "token", content="a"), None),
        (LAST, record(10, "token", content="a"), False),
        # The end of a life that this one resumes is none.
        (LAST, record(15, "done"), None),
        (LAST, record(20, "workflow_start"), False),
        (LAST, record(21, "done"), True),
        (LAST, record(22, "workflow_start", incarnation="c"), False),
        # A turn ends with its own end, and where the next one begins.
        (TURN, record(21, "done", incarnation="b"), True),
        (TURN, record(21, "done", incarnation="a"), None),
        (TURN, record(22, "workflow_start", incarnation="c"), True),
        # The end of a step is none.
        (LAST, record(21, "workflow_complete", parent_id="s"), False),
    ],
)
def test_a_life_ends_with_its_own_end(life: RunLife, event: Record, said: bool | None) -> None:
    assert LifeEnding(life)(event) is said


def test_a_life_that_is_resumed_ends_with_the_end_of_its_last_incarnation() -> None:
    ending = LifeEnding(TURN)
    events = [
        record(20, "workflow_start", incarnation="b"), record(21, "token", content="a"),
        record(22, "workflow_start", incarnation="c", resumed=True), record(23, "done", incarnation="b"),
        record(24, "done", incarnation="c"),
    ]  # fmt: skip

    assert [ending(event) for event in events] == [False, False, False, None, True]


def test_who_reads_a_run_from_behind_its_start_on_knows_its_life_and_follows_the_next_one() -> None:
    start = Event.new("agent.r.workflow_start", {"incarnation": "b"})
    ending = LifeEnding(RunLife(domain="agent", name="r", begin=19, started=20, start=start))
    events = [
        record(21, "done", incarnation="a"), record(22, "workflow_start", incarnation="c"), record(23, "token", content="a"),
        record(24, "done", incarnation="c"),
    ]  # fmt: skip

    assert [ending(event) for event in events] == [None, False, False, True]


def test_what_comes_before_a_turn_has_begun_is_of_the_one_before() -> None:
    ending = LifeEnding(RunLife(domain="thread", name="t", begin=9, incarnation="b"))
    events = [
        record(10, "token", content="a"), record(11, "workflow_start", incarnation="a"), record(12, "done"),
        record(13, "workflow_start", incarnation="b"), record(14, "token", content="b"), record(15, "done"),
    ]  # fmt: skip

    assert [ending(event) for event in events] == [None, None, None, False, False, True]


def test_a_turn_that_is_failed_before_it_has_begun_ends() -> None:
    ending = LifeEnding(RunLife(domain="thread", name="t", begin=9, incarnation="b"))

    assert ending(record(10, "completion", incarnation="a", success=True)) is None
    assert ending(record(11, "completion", incarnation="b", success=False, synthesized=True)) is True


def test_endings_are_equal_that_say_the_same_of_what_comes() -> None:
    resumed = record(22, "workflow_start", incarnation="c", resumed=True)
    one, two, other = LifeEnding(TURN), LifeEnding(TURN), LifeEnding(LAST)

    assert one == two and one != other and one != "b"
    one(resumed)
    assert one != two
    two(resumed)
    assert one == two


@pytest.mark.parametrize(
    ("life", "status"),
    [
        (RunLife(domain="agent", name="r"), "running"),
        (RunLife(domain="agent", name="r", state={"status": "stopping"}), "stopping"),
        (RunLife(domain="agent", name="r", end=5, final=Event.new("agent.r.completion", {"success": False})), "failed"),
        (RunLife(domain="agent", name="r", end=5, state={"status": "cancelled"}), "cancelled"),
    ],
)
def test_a_life_has_a_status(life: RunLife, status: str) -> None:
    assert life.status == status
