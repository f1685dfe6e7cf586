"""The positions and cursors of events in the order in which they are read."""

from __future__ import annotations

from typing import Any, cast

from router.checks import Checks
from router.cursor import check_of
from router.layout import FIRST, Layout, generation
from router.position import Position, of_one
from router.record import Record
from router.trail import Trail

NEW = generation(1, 2).with_epochs(["0000000a", "0000000b"])


def checks() -> Checks:
    return Checks(cast(Any, None))


def test_a_record_of_the_only_stream_makes_its_cursor_when_it_is_asked() -> None:
    record = Record(42, "job.x.output", b"123456789")
    trail = Trail(of_one(41), FIRST, checks())

    trail.add(record)

    assert record.position == trail.position == of_one(42)
    assert record.cursor("0badcafe") == "1-0badcafe-00000000002a-cbf43926"


def test_each_cursor_names_how_far_every_shard_was_read() -> None:
    known = checks()
    known.note(3, 7, NEW.shards[1])
    trail = Trail(Position(1, (0, 3)), Layout((NEW,)), known)
    first, second = (Record(1, "a.b.c", b"x", shard=shard) for shard in generation(1, 2).shards)
    second.sequence = 4

    trail.add(first)
    trail.add(second)

    check = f"{check_of(b'x'):x}"
    assert (first.position, second.position) == (Position(1, (1, 3)), Position(1, (1, 4)))
    assert first.cursor("") == f"2-0000000a.1.{check}~0000000b.3.7"
    assert second.cursor("") == f"2-0000000a.1.{check}~0000000b.4.{check}"
    assert second.shard is NEW.shards[1]


def test_what_is_left_of_the_former_stream_has_its_cursors() -> None:
    old = generation(0, ends=(9,)).with_epochs(["0badcafe"])
    record = Record(8, "a.b.c", b"x")

    Trail(of_one(7), Layout((old, NEW)), checks()).add(record)

    assert record.cursor("0000000a~0000000b") == f"1-0badcafe-000000000008-{check_of(b'x'):08x}"
