"""Places of events as positions and cursors, in generations that are there, sealed, deleted or not known yet."""

from __future__ import annotations

from typing import cast

from edge.hub.integrity import Integrity
from edge.hub.places import EventPlaces
from router.cursor import Cursor, VectorCursor
from router.event_place import BEFORE_ALL, place_in
from router.layout import Layout, generation
from router.position import Position, of_one

FORMER = generation(0, 1, (40,)).with_epochs(["00000009"])
CURRENT = generation(2, 3).with_epochs(["0000000a", "0000000b", "0000000c"])
# Where each is of generation 2.
FIRST, SECOND, THIRD = CURRENT.shards
SUBJECT = next(f"job.{n}.output" for n in range(100) if CURRENT.shard_of(f"job.{n}.output") is SECOND)


class _Integrity:
    """What a process knows of the streams."""

    layout = Layout((FORMER, CURRENT))
    begin = of_one(3)
    position = Position(2, (5, 6, 7))


places = EventPlaces(cast(Integrity, _Integrity()))


def test_a_place_is_a_position_that_leads_to_nothing_of_the_other_shards() -> None:
    assert places.position(place_in(SECOND, 2)) == Position(2, (5, 2, 7))
    assert places.position(place_in(FORMER.shards[0], 9)) == of_one(9)
    assert places.cursor(place_in(SECOND, 2)) == VectorCursor(
        (Cursor("0000000a", 5), Cursor("0000000b", 2), Cursor("0000000c", 7))
    )
    assert places.cursor(place_in(FORMER.shards[0], 9)) == Cursor("00000009", 9)
    assert places.position(BEFORE_ALL) == of_one(0)


def test_of_a_deleted_generation_all_that_is_kept_comes_next_and_of_one_to_come_all_that_is_not_received() -> None:
    assert places.position(place_in(generation(1, 2).shards[1], 9)) == of_one(3)
    assert places.position(place_in(generation(3, 2).shards[1], 9)) == Position(2, (5, 6, 7))


def test_a_cursor_says_up_to_which_place_an_entity_was_read() -> None:
    both = VectorCursor((Cursor("0000000a", 5), Cursor("0000000b", 2)))

    assert places.read(SUBJECT, both) == place_in(SECOND, 2)
    assert places.read(SUBJECT, Cursor("00000009", 7)) == 7
    # Of what it does not name nothing was read.
    assert places.read(SUBJECT, VectorCursor((Cursor("0000000a", 5),))) == place_in(SECOND, 0)
    assert places.read(SUBJECT, Cursor("0000000f", 7)) is None
    assert places.cursor_in(SUBJECT, Position(2, (1, 2, 3))) == places.cursor(place_in(SECOND, 2))


def test_a_position_is_narrowed_to_the_shards_of_what_is_read() -> None:
    assert places.narrowed(Position(2, (1, 2, 3)), (SUBJECT,)) == Position(2, (0, 2, 0))
    assert places.narrowed(Position(2, (1, 2, 3)), ("job.>",)) == Position(2, (1, 2, 3))
    assert places.narrowed(of_one(7), (SUBJECT,)) == of_one(7)
