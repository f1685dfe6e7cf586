"""Positions: what has been read of the shards of a generation."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from router.layout import Layout, generation
from router.position import Position, beginning, end, of_one
from router.record import Record

SHARDS = 3
SEQUENCES = st.integers(0, 6)
# Generation 0 has one shard, the two after it have three.
POSITIONS = st.one_of(
    st.builds(of_one, SEQUENCES),
    st.builds(Position, st.sampled_from([1, 2]), st.tuples(*[SEQUENCES] * SHARDS)),
)
RECORDS = st.one_of(
    st.builds(lambda sequence: Record(sequence, "a.b.c", b""), st.integers(1, 6)),
    st.builds(
        lambda number, index, sequence: Record(sequence, "a.b.c", b"", shard=generation(number, SHARDS).shards[index]),
        st.sampled_from([1, 2]),
        st.integers(0, SHARDS - 1),
        st.integers(1, 6),
    ),
)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_positions_are_a_semilattice_under_joining(one: Position, other: Position, third: Position) -> None:
    assert one.joined(one) == one
    assert one.joined(other) == other.joined(one)
    assert one.joined(other).joined(third) == one.joined(other.joined(third))


@given(POSITIONS, POSITIONS)
def test_a_position_reaches_another_where_joining_that_adds_nothing(one: Position, other: Position) -> None:
    assert one.reaches(other) == (one.joined(other) == one)
    assert one.behind(other) != one.reaches(other)
    assert one.joined(other).reaches(one)
    assert one.joined(other).reaches(other)


@given(POSITIONS, RECORDS)
def test_the_position_after_an_event_covers_it_and_is_not_behind_the_one_before(
    position: Position, record: Record
) -> None:
    after = position.after(record)

    assert after.covers(record)
    assert after.reaches(position)
    assert (after == position) == position.covers(record)


@given(POSITIONS, POSITIONS, RECORDS)
def test_the_position_after_an_event_is_monotone(one: Position, other: Position, record: Record) -> None:
    assert one.joined(other).after(record) == one.after(record).joined(other.after(record))
    if one.reaches(other):
        assert one.after(record).reaches(other.after(record))
        assert one.covers(record) or not other.covers(record)


@given(st.lists(RECORDS, max_size=12), st.randoms())
def test_in_whichever_order_events_are_read_the_position_after_them_is_the_same(records: list[Record], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(records, len(records))

    assert reduce(Position.after, records, of_one(0)) == reduce(Position.after, shuffled, of_one(0))


@given(SEQUENCES, SEQUENCES)
def test_in_one_shard_positions_are_ordered_as_their_sequences(one: int, other: int) -> None:
    assert of_one(one).reaches(of_one(other)) == (one >= other)
    assert of_one(one).joined(of_one(other)) == of_one(max(one, other))


@given(POSITIONS)
def test_the_beginning_of_a_later_generation_is_behind_no_position_of_an_earlier_one(position: Position) -> None:
    later = beginning(generation(3, 2))

    assert later == Position(3, (0, 0))
    assert later.reaches(position)
    assert position.behind(later)


def test_a_sealed_generation_has_an_end_and_one_that_takes_events_has_none() -> None:
    assert end(generation(1, 2, ends=(7, 9))) == Position(1, (7, 9))
    assert end(generation(1, 2)) is None


def test_a_position_is_ahead_of_an_older_one_by_what_is_left_of_its_generation_and_all_since() -> None:
    layout = Layout.of([(0, 1), (1, 2), (2, 2)], {0: (9,), 1: (4, 0)})
    newest = Position(2, (3, 1))

    assert newest.ahead_of(Position(0, (7,)), layout) == 2 + 4 + 4
    assert newest.ahead_of(Position(1, (4, 0)), layout) == 4
    assert newest.ahead_of(Position(2, (1, 5)), layout) == 2
    assert newest.ahead_of(Position(3, (1,)), layout) == 0
    # A generation that was dropped has nothing left to read.
    assert newest.ahead_of(Position(0, (7,)), Layout.of([(1, 2), (2, 2)], {1: (4, 0)})) == 4 + 4
