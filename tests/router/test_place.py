"""Where a cursor leads in several shards and generations, and what its client has lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.cursor import FOREIGN, Cursor, VectorCursor, parse_cursor
from router.events_state import EventsState
from router.layout import Layout, generation
from router.place import Gap, cursor_of, foreign, place_of
from router.position import Position, of_one

OLD = generation(0, ends=(9,)).with_epochs(["00000009"])
NEW = generation(1, 3).with_epochs(["1.0.00a", "1.1.00b", "1.2.00c"])
STATE = EventsState(Layout((OLD, NEW)), (of_one(4), Position(1, (0, 2, 0))), (of_one(9), Position(1, (5, 7, 0))))
# Digits of epochs that a text of all of them could be split at by mistake.
ODD = generation(1, 3).with_epochs(["1.0.~~~", "1.1.---", "1.2.-~0"])
PARTS = st.tuples(st.integers(0, 5), st.integers(2, 7), st.just(0))


@given(PARTS)
def test_a_cursor_of_all_shards_leads_to_its_position(sequences: tuple[int, int, int]) -> None:
    position = Position(1, sequences)
    cursor = parse_cursor(str(cursor_of(position, NEW.epoch)))

    assert place_of(cursor, STATE) == (position, None)


def test_any_digits_may_be_in_the_epochs_of_a_position() -> None:
    cursor = cursor_of(Position(1, (1, 2, 3)), ODD.epoch)

    assert [part.epoch for part in cursor.parts] == [shard.epoch for shard in ODD.shards]
    assert parse_cursor(str(cursor)) == cursor


def test_a_cursor_of_the_former_stream_is_a_place_in_it() -> None:
    assert place_of(Cursor("00000009", 7), STATE) == (of_one(7), None)
    assert place_of(Cursor("00000009", 2), STATE) == (of_one(4), Gap(of_one(3), of_one(4), reset=False))


def test_shards_that_a_cursor_does_not_name_are_read_from_their_beginning() -> None:
    assert place_of(VectorCursor((Cursor("1.1.00b", 5),)), STATE) == (Position(1, (0, 5, 0)), None)


def test_what_retention_took_of_one_shard_is_told_of_that_shard() -> None:
    cursor = VectorCursor((Cursor("1.0.00a", 3), Cursor("1.1.00b", 0), Cursor("1.2.00c", 0)))

    assert place_of(cursor, STATE) == (
        Position(1, (3, 2, 0)),
        Gap(Position(1, (3, 1, 0)), Position(1, (3, 2, 0)), reset=False),
    )


def test_a_part_of_another_life_or_past_the_end_is_lost_and_the_others_go_on() -> None:
    for part in (Cursor("1.1.zzz", 3), Cursor("1.1.00b", 8)):
        place = place_of(VectorCursor((Cursor("1.0.00a", 3), part, Cursor("1.2.00c", 0))), STATE)

        assert place.after == Position(1, (3, 2, 0))
        assert place.gap is not None and place.gap.reset


def test_a_cursor_of_other_streams_begins_at_the_oldest_event() -> None:
    for cursor in (Cursor("deadbeef", 3), foreign(Cursor("1.0.00a", 3)), VectorCursor((Cursor(FOREIGN, 1),) * 3)):
        assert place_of(cursor, STATE) == (of_one(4), Gap(of_one(0), of_one(4), reset=True))


def test_one_epoch_that_fits_among_many_that_do_not_is_not_believed() -> None:
    cursor = VectorCursor((Cursor("1.0.00a", 3), Cursor("1.1.zzz", 3), Cursor("1.2.zzz", 0)))

    assert place_of(cursor, STATE) == (of_one(4), Gap(of_one(0), of_one(4), reset=True))


def test_the_cursor_of_a_position_in_a_life_that_it_is_not_of_is_foreign() -> None:
    assert str(cursor_of(of_one(7), "0badcafe")) == "1-0badcafe-000000000007"
    assert str(cursor_of(Position(1, (1, 2)), "0badcafe")) == "2-1.-1---0---1"
    assert str(cursor_of(Position(1, (1, 2)), "1.0.~0a,1.1.00~", (1, 5))) == "2-1.-1~0a000~1.0-----4"
