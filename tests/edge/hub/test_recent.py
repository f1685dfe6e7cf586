"""What was heard last is read in pages that miss nothing, repeat nothing and keep their bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.hub.recent import EVENT_BYTES, Recent
from router.cursor import parse_cursor
from router.layout import FIRST, ORIGINAL, Generation, Layout, generation
from router.position import Position, of_one
from router.record import Record
from router.trail import Trail

THREE = generation(1, 3).with_epochs(["1.0.00a", "1.1.00b", "1.2.00c"])


def trail(position: Position, of: Generation = FIRST.current) -> Trail:
    return Trail(position, Layout((of,)))


def record(sequence: int, size: int = 10) -> Record:
    return Record(sequence, "job.a.said", b"x" * size)


@given(
    st.lists(st.tuples(st.integers(1, 700), st.integers(0, 300)), max_size=60),
    st.integers(1, 30),
    st.integers(1, 1000),
    st.integers(2, 40),
    st.data(),
)
def test_pages_hold_all_that_is_kept_once_and_in_order(
    said: list[tuple[int, int]], most: int, most_bytes: int, kept: int, data: st.DataObject
) -> None:
    recent = Recent(kept * (EVENT_BYTES + 100))
    sequence, all_of_it = 0, []
    for step, size in said:
        sequence += step
        all_of_it.append(sequence)
        recent.add(record(sequence, size))
    since = recent.since.of(ORIGINAL)
    at = data.draw(st.integers(since, max(sequence, since)))

    seen: list[int] = []
    after, more = of_one(at), True
    while more:
        page = recent.after(after, most, most_bytes, trail)
        size = sum(len(each.payload) for each in page.records)
        assert len(page.records) <= most
        assert size <= most_bytes or len(page.records) == 1
        assert page.more or size <= most_bytes
        assert after.behind(page.upto) or not page.records
        seen += [each.sequence for each in page.records]
        after, more = page.upto, page.more

    assert seen == [each for each in all_of_it if each > at]


def test_the_oldest_are_dropped_and_it_is_known_from_where_on_it_is_whole() -> None:
    recent = Recent(10 * (EVENT_BYTES + 10))
    for sequence in range(1, 10_001):
        recent.add(record(sequence))

    assert len(recent) == 10
    assert recent.since == of_one(9_990)
    assert [each.sequence for each in recent.after(of_one(9_990), 100, 10_000, trail).records] == list(
        range(9_991, 10_001)
    )


def test_readers_that_fell_behind_at_different_places_come_to_read_the_same_pages() -> None:
    recent = Recent()
    for sequence in range(1, 5000):
        recent.add(record(sequence))

    ends = []
    for start in (3, 77, 500):
        after, pages = of_one(start), []
        for _ in range(4):
            page = recent.after(after, 1000, 1 << 20, trail)
            pages.append((after, page.upto))
            after = page.upto
        ends.append(pages[1:])

    assert ends[0] == ends[1] == ends[2]


@given(
    st.lists(st.integers(0, 2), max_size=40),
    st.integers(1, 8),
    st.tuples(*[st.integers(0, 15)] * 3),
    st.integers(0, 40),
)
def test_a_reader_from_its_own_position_in_three_shards_gets_the_rest_of_each_in_order(
    received: list[int], most: int, start: tuple[int, ...], joins: int
) -> None:
    recent, order = Recent(), trail(Position(1, (0, 0, 0)), THREE)
    recent.since = order.position
    counts = [0, 0, 0]
    for index in received:
        counts[index] += 1
        each = Record(counts[index], f"job.{index}.said", b"x", shard=THREE.shards[index])
        order.add(each)
        recent.add(each)
    # One that stood in the order of receipt, or one from somewhere else.
    own = Position(1, start) if joins > len(received) else _after(received[:joins])

    seen, after, more = [], own, True
    while more:
        page = recent.after(after, most, 1 << 20, lambda position: trail(position, THREE))
        for each in page.records:
            assert not after.covers(each)
            after = after.after(each)
            assert each.position == after
            parts = parse_cursor(each.cursor("")).parts
            assert [(part.epoch, part.sequence) for part in parts] == [(s.epoch, after.of(s)) for s in THREE.shards]
        assert page.upto.reaches(after)
        seen += page.records
        after, more = page.upto, page.more

    assert after == own.joined(order.position)
    for index, shard in enumerate(THREE.shards):
        of = [each.sequence for each in seen if each.shard is shard]
        assert of == list(range(own.of(shard) + 1, counts[index] + 1))
    assert recent.next(own) is (
        None if own.reaches(order.position) else next(each for each in kept(recent) if not own.covers(each))
    )


def kept(recent: Recent) -> list[Record]:
    return [each for each in recent._records if each is not None]


def _after(received: list[int]) -> Position:
    return Position(1, tuple(received.count(index) for index in range(3)))
