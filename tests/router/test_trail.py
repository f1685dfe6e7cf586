"""The positions and cursors of events in the order in which they are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.cursor import Cursor, VectorCursor, check_of, parse_cursor
from router.layout import FIRST, Layout, generation
from router.place import cursor_of
from router.position import Position, of_one
from router.record import Record
from router.trail import Trail

NEW = generation(1, 2).with_epochs(["1.0.00a", "1.1.00b"])


def test_a_record_of_the_only_stream_makes_its_cursor_when_it_is_asked() -> None:
    record = Record(42, "job.x.output", b"123456789")
    trail = Trail(of_one(41), FIRST)

    trail.add(record)

    assert record.position == trail.position == of_one(42)
    assert record.cursor("0badcafe") == "1-0badcafe-00000000002a-cbf43926"


def test_each_cursor_names_how_far_every_shard_was_read() -> None:
    trail = Trail(Position(1, (0, 3)), Layout((NEW,)))
    first, second = (Record(1, "a.b.c", b"x", shard=shard) for shard in generation(1, 2).shards)
    second.sequence = 4

    trail.add(first)
    trail.add(second)

    check = check_of(b"x")
    assert (first.position, second.position) == (Position(1, (1, 3)), Position(1, (1, 4)))
    assert parse_cursor(first.cursor("")) == VectorCursor((Cursor("1.0.00a", 1, check), Cursor("1.1.00b", 3)))
    assert parse_cursor(second.cursor("")) == VectorCursor((Cursor("1.0.00a", 1), Cursor("1.1.00b", 4, check)))
    assert second.shard is NEW.shards[1]


def test_what_is_left_of_the_former_stream_has_its_cursors() -> None:
    old = generation(0, ends=(9,)).with_epochs(["0badcafe"])
    record = Record(8, "a.b.c", b"x")

    Trail(of_one(7), Layout((old, NEW))).add(record)

    assert record.cursor("1.0.00a,1.1.00b") == f"1-0badcafe-000000000008-{check_of(b'x'):08x}"


@given(
    st.lists(st.integers(0, 200), min_size=3, max_size=3).map(tuple),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 60, 5000])), min_size=1, max_size=12),
)
def test_each_cursor_is_that_of_the_position_after_its_event(
    begin: tuple[int, ...], steps: list[tuple[int, int]]
) -> None:
    three = generation(1, 3).with_epochs(["1.0.00a", "1.1.00b", "1.2.00c"])
    trail = Trail(Position(1, begin), Layout((three,)))
    expected = Position(1, begin)

    for index, step in steps:
        shard = generation(1, 3).shards[index]
        record = Record(expected.of(shard) + step, "a.b.c", b"x", shard=shard)
        expected = expected.after(record)
        trail.add(record)

        own = (index, check_of(b"x")) if step else None
        assert record.position == trail.position == expected
        assert record.cursor("") == str(cursor_of(expected, three.epoch, own))
