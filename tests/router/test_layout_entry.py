"""The entry that says which streams hold the events, and how a reshard changes it."""

from __future__ import annotations

import msgspec
import pytest

from router import layout_entry
from router.layout import FIRST
from router.layout_entry import KeptGeneration, LayoutEntry


def test_an_installation_that_was_never_resharded_has_one_stream() -> None:
    assert LayoutEntry().layout == FIRST


def test_a_reshard_names_the_next_generation_and_then_makes_it_the_current_one() -> None:
    entry = layout_entry.begun(LayoutEntry(), 3)
    assert entry.layout == FIRST
    assert entry.next == KeptGeneration(1, 3)

    entry = layout_entry.finished(entry, [42], now=7)

    assert entry.next is None
    assert entry.current == KeptGeneration(1, 3, began=7)
    assert [shard.stream for shard in entry.layout.current.shards] == ["EVENTS_1_0", "EVENTS_1_1", "EVENTS_1_2"]
    assert entry.layout.generations[0].ends == (42,)


def test_the_oldest_generation_can_be_dropped() -> None:
    entry = layout_entry.finished(layout_entry.begun(LayoutEntry(), 2), [1], now=1)

    assert [each.number for each in layout_entry.without(entry, 0).generations] == [1]


def test_an_entry_survives_being_stored() -> None:
    entry = layout_entry.begun(layout_entry.finished(layout_entry.begun(LayoutEntry(), 2), [1], now=1), 4)

    assert layout_entry.parse(msgspec.json.encode(entry)) == entry
    assert layout_entry.parse(b"{}") == LayoutEntry()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b'{"generations": []}',
        b'{"generations": [{"number": 0, "shards": 2}]}',
        b'{"generations": [{"number": 1, "shards": 0}]}',
        b'{"generations": [{"number": 2, "shards": 1}, {"number": 1, "shards": 1}]}',
        b'{"generations": [{"number": 1, "shards": 1000}]}',
    ],
)
def test_what_is_no_entry_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"layout|generation"):
        layout_entry.parse(value)
