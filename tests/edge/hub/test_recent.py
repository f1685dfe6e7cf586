"""What was heard last is read in pages that miss nothing, repeat nothing and keep their bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.hub.recent import EVENT_BYTES, Recent
from router.record import Record


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
    at = data.draw(st.integers(recent.since, max(sequence, recent.since)))

    seen: list[int] = []
    after, more = at, True
    while more:
        page = recent.after(after, most, most_bytes)
        size = sum(len(each.payload) for each in page.records)
        assert len(page.records) <= most
        assert size <= most_bytes or len(page.records) == 1
        assert page.more or size <= most_bytes
        assert page.upto > after or not page.records
        seen += [each.sequence for each in page.records]
        after, more = page.upto, page.more

    assert seen == [each for each in all_of_it if each > at]


def test_the_oldest_are_dropped_and_it_is_known_from_where_on_it_is_whole() -> None:
    recent = Recent(10 * (EVENT_BYTES + 10))
    for sequence in range(1, 10_001):
        recent.add(record(sequence))

    assert len(recent) == 10
    assert recent.since == 9_990
    assert [each.sequence for each in recent.after(9_990, 100, 10_000).records] == list(range(9_991, 10_001))


def test_readers_that_fell_behind_at_different_places_come_to_read_the_same_pages() -> None:
    recent = Recent()
    for sequence in range(1, 5000):
        recent.add(record(sequence))

    ends = []
    for start in (3, 77, 500):
        after, pages = start, []
        for _ in range(4):
            page = recent.after(after, 1000, 1 << 20)
            pages.append((after, page.upto))
            after = page.upto
        ends.append(pages[1:])

    assert ends[0] == ends[1] == ends[2]
