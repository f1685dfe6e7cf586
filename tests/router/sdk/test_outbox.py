"""Tests of router/sdk/outbox.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.sdk import Overflow, RunSettings
from router.sdk.outbox import MAX_BYTES, RunOutbox
from router.sdk.queued import Kind, Life, Queued
from router.sdk.spool import SpoolFile, new_header

LIFE = Life("agent", "one", "one", "a1", "sdk")


def outbox(folder: Path, **settings: object) -> RunOutbox:
    def make() -> SpoolFile:
        return SpoolFile.create(folder, new_header(LIFE, "nats://there"))

    return RunOutbox(RunSettings(**settings), make, lambda: None)  # type: ignore[arg-type]


def event(number: int, kind: Kind = Kind.EVENT, key: str | None = None, size: int = 3) -> Queued:
    return Queued(kind, number, "agent.one.noted", f"d{number}", bytes(size), key)


def numbers(box: RunOutbox) -> list[int]:
    """Everything in it, taken in pieces and settled."""
    found: list[int] = []
    while items := box.take(3, 1000):
        found += [item.number for item in items]
        box.settle(len(items))
    return found


def test_what_is_taken_stays_first_until_it_is_settled(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for n in range(5):
        box.add(event(n))

    assert [item.number for item in box.take(2, 1000)] == [0, 1] == [item.number for item in box.take(2, 1000)]
    box.settle(1)
    assert [item.number for item in box.take(10, 1000)] == [1, 2, 3, 4]
    box.settle(2, refused=1)

    assert (len(box), box.stored, box.refused) == (1, 3, 1)


def test_a_full_outbox_goes_to_disk_and_comes_back_in_order(tmp_path: Path) -> None:
    box = outbox(tmp_path, capacity=4)
    for n in range(20):
        box.add(event(n))

    assert box.spooling and box.spool_path is not None and box.spool_path.exists()
    assert len(box) == 20 and box.dropped == 0
    assert numbers(box) == list(range(20))
    assert not box.spooling and list(tmp_path.iterdir()) == []


def test_a_spool_that_is_full_drops_what_comes_then_but_for_the_end(tmp_path: Path) -> None:
    box = outbox(tmp_path, capacity=1, spool_bytes=2000)
    for n in range(5):
        box.add(event(n, size=700))
    box.add(event(5, Kind.END, size=700))

    assert box.dropped > 0 and len(box) + box.dropped == 6
    assert numbers(box)[-1] == 5


def test_a_progress_that_a_newer_one_supersedes_makes_room(tmp_path: Path) -> None:
    box = outbox(tmp_path, capacity=3, overflow=Overflow.DROP_PROGRESS)
    for n, key in enumerate(["p", None, "p"]):
        box.add(event(n, key=key))

    assert not box.must_wait and box.superseded == 1
    box.add(event(3))
    assert box.must_wait
    assert numbers(box) == [1, 2, 3] and box.dropped == 0


def test_the_oldest_is_dropped_and_counted_where_that_is_wanted(tmp_path: Path) -> None:
    box = outbox(tmp_path, capacity=3, overflow=Overflow.DROP_OLDEST)
    box.add(event(0, Kind.START))
    for n in range(1, 6):
        box.add(event(n))

    assert numbers(box) == [0, 4, 5] and box.dropped == 3 and not box.must_wait


def test_an_outbox_is_full_by_events_or_by_bytes(tmp_path: Path) -> None:
    by_events = outbox(tmp_path, capacity=2, overflow=Overflow.WAIT)
    by_bytes = outbox(tmp_path, capacity=100, overflow=Overflow.WAIT)
    for box, size in ((by_events, 0), (by_bytes, MAX_BYTES // 2)):
        for n in range(2):
            assert not box.must_wait
            box.add(event(n, size=size))

    assert by_events.must_wait and by_bytes.must_wait


def test_a_folder_that_cannot_be_written_drops_the_oldest_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    box = outbox(tmp_path / "file", capacity=2)
    for n in range(4):
        box.add(event(n))

    assert numbers(box) == [2, 3] and box.dropped == 2 and box.failure is not None
    assert "cannot be spooled" in caplog.text
    assert box.close() == (0, None)


@given(st.lists(st.sampled_from(["add", "take", "settle", "spill"]), max_size=80))
def test_whatever_happens_everything_leaves_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    box = outbox(tmp_path_factory.mktemp("spool"), capacity=5)
    added = 0
    left: list[int] = []
    for step in steps:
        match step:
            case "add":
                box.add(event(added))
                added += 1
            case "take":
                box.take(4, 1000)
            case "settle":
                items = box.take(4, 1000)
                half = (len(items) + 1) // 2
                left += [item.number for item in items[:half]]
                box.settle(half)
            case "spill":
                box.spill()
    left += numbers(box)

    assert left == list(range(added)) and box.stored == added
