"""A fold is at its reader's position whatever happens: silent up to its client's place, unmoved by a failure, over once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.dialect import DialectPart, FoldedDialect
from edge.dialects.folding import Folding
from edge.transports.event_stream import chunk
from edge.transports.folding_encoders import ChunkedFoldingSseEncoder, FoldingSseEncoder
from edge.types import Batch
from router.layout import Layout, Shard
from router.position import Position, of_one, placed
from router.record import Record
from tests.edge.dialects.folds import EPOCH, records_of, written


def _step(state: int, record: Record, _epoch: str) -> tuple[int, Sequence[DialectPart]]:
    """Adds up numbers: says nothing of 0, and each sum that it passes by one part."""
    assert record.event is not None
    n: Any = record.event.data["n"]
    if n == "broken":
        raise ValueError
    return state + n, [DialectPart(b"%d" % each) for each in range(state + 1, state + n + 1)]


SUM = FoldedDialect(name="sum", begin=lambda given: int(given.get("from", "0")), step=_step)


def numbers(*many: Any) -> list[Record]:
    return records_of(*(("x", {"n": n}) for n in many))


@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(many: list[int], data: st.DataObject) -> None:
    records = numbers(*many)
    cut = data.draw(st.integers(0, len(many)))

    assert written(SUM, records[:cut]) + written(SUM, records, after=cut) == written(SUM, records)


SHARDS = Layout.of([(1, 2), (2, 3)])
OLD, NEW = SHARDS.generations[0].shards[1], SHARDS.generations[1].shards[0]
# A run that begins in one generation of streams and goes on in the next, whose sequences begin anew.
PLACES = [(OLD, 7), (OLD, 8), (OLD, 11), (NEW, 1), (NEW, 2), (NEW, 8)]


@given(st.lists(st.integers(0, 3), min_size=len(PLACES), max_size=len(PLACES)), st.data())
def test_any_cut_and_resume_give_the_same_events_across_generations_of_streams(
    many: list[int], data: st.DataObject
) -> None:
    records = [_in(record, *place) for record, place in zip(numbers(*many), PLACES, strict=True)]
    cut = data.draw(st.integers(1, len(PLACES)))
    had = data.draw(st.integers(0, max(0, many[cut - 1] - 1)))
    folding = Folding(SUM, {}, placed(*PLACES[cut - 1]), had=had)

    taken = [folding.take(record, EPOCH) for record in records]

    said = [int(part.data) for each in taken if each is not None for part in each.parts]
    first = sum(many[:cut]) if not had else sum(many[: cut - 1]) + had
    assert said == list(range(first + 1, sum(many) + 1))


def _in(record: Record, shard: Shard, sequence: int) -> Record:
    return Record(sequence, record.subject, record.payload, shard=shard)


def test_a_fold_is_silent_by_shards_where_its_events_are_in_several() -> None:
    first, second = SHARDS.generations[1].shards[1:]
    folding = Folding(SUM, {}, Position(2, (0, 5, 2)))
    records = [_in(numbers(1)[0], *place) for place in ((OLD, 9), (first, 5), (second, 3), (first, 6))]

    assert [folding.take(record, EPOCH) is not None for record in records] == [False, False, True, True]
    assert not folding.shares(Position(2, (9, 4, 9))) and folding.shares(Position(2, (0, 5, 2)))


def test_the_cursor_is_on_the_last_part_of_an_event() -> None:
    cursor = f"1-{EPOCH}-000000000001-00000001"

    assert written(SUM, numbers(2, 0)).decode() == f"data: 1\n\ndata: 2\nid: {cursor}\n\n"


def test_an_event_that_cannot_be_folded_leaves_the_state_and_takes_no_other_with_it() -> None:
    failed: list[int] = []
    encoder = FoldingSseEncoder(Folding(SUM, {"from": "4"}))
    batch = Batch(numbers(1, "broken", 1), EPOCH, unencodable=lambda record, _fault: failed.append(record.sequence))

    said = encoder.encode(batch)

    assert [line for line in said.decode().split("\n") if line.startswith("data")] == ["data: 5", "data: 6"]
    assert failed == [2]


@pytest.mark.parametrize("last", [2, "broken"])
def test_what_comes_behind_the_end_says_nothing_also_where_the_end_cannot_be_folded(last: Any) -> None:
    def ending(record: Record) -> bool | None:
        return {1: None}.get(record.sequence, record.sequence == 3)

    folding = Folding(SUM, {}, ending=ending)
    encoder = FoldingSseEncoder(folding)

    encoder.encode(Batch(numbers(9, 1), EPOCH))
    assert (folding.state, encoder.over) == (1, False)
    encoder.encode(Batch(records_of(("x", {"n": last}), ("x", {"n": 5}), first=3), EPOCH))

    assert (folding.state, encoder.over) == (3 if last == 2 else 1, True)


def test_nothing_is_no_chunk_since_an_empty_one_ends_a_body() -> None:
    encoder = ChunkedFoldingSseEncoder(Folding(SUM, {}))

    assert encoder.encode(Batch(numbers(0), EPOCH)) == b"" == chunk(b"")


def test_what_a_client_says_changes_the_state() -> None:
    folding = Folding(SUM, {})
    folding.tell(lambda state: state + 7)

    assert folding.state == 7
    parameters: Mapping[str, str] = {"from": "1"}
    assert Folding(SUM, parameters).state == 1


def test_folds_agree_that_make_the_same_of_what_comes() -> None:
    one, two, other = Folding(SUM, {}), Folding(SUM, {}, after=of_one(2)), Folding(SUM, {"from": "3"})
    three, ended = numbers(3)[0], Folding(SUM, {}, ending=lambda _record: True)
    ended.take(numbers(0)[0], EPOCH)

    assert one.agrees(two) and not one.agrees(other)
    assert not ended.agrees(one) and not ended.shares(of_one(5))
    # A silent one is written less than others.
    assert (two.shares(of_one(1)), two.shares(of_one(2))) == (False, True)
    forked = other.fork()
    one.take(three, EPOCH)
    assert one.agrees(other)
    other.take(three, EPOCH)
    assert (forked.state, other.state) == (3, 6)
    forked.follow(other)
    assert forked.agrees(other)


def test_who_asks_for_the_state_of_a_fold_that_reads_along_gets_its_own() -> None:
    group, own = Folding(SUM, {}), Folding(SUM, {})
    own.read_along(group, lambda: own.follow(group))
    group.take(numbers(3)[0], EPOCH)

    own.tell(lambda state: state + 1)

    assert (own.state, group.state) == (4, 3)
