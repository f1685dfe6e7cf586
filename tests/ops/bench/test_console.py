"""Tests of ops/bench/console.py: the work of frames is read from a trace, and a machine without chromium leaves it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops.bench.console import frame_work, ranked, run
from ops.bench.stand import BenchError, Plan


def task(begin: int, cost: int, thread: int = 1) -> dict[str, Any]:
    # A task that was interrupted for as long as it worked.
    return {"name": "RunTask", "ph": "X", "pid": 1, "tid": thread, "ts": begin, "dur": 2 * cost, "tdur": cost}


def commit(begin: int, thread: int = 1) -> dict[str, Any]:
    return {"name": "Commit", "ph": "X", "pid": 1, "tid": thread, "ts": begin, "dur": 100}


def test_a_frame_has_the_cpu_time_of_the_tasks_since_the_one_that_drew_the_frame_before() -> None:
    first = [task(1_000, 1_000), commit(2_500)]
    second = [task(4_000, 500), task(9_500, 3_000), commit(14_000)]
    third = [task(25_900, 1_000), commit(26_000)]
    begun = [task(42_000, 500)]
    others = [commit(11_000, 2), task(12_000, 9_000, 2)]

    assert frame_work([*others, *first, *second, *third, *begun]) == [3.5, 1.0]
    with pytest.raises(BenchError, match="no frame"):
        frame_work([task(0, 10)])


def test_a_rank_is_what_a_share_of_all_do_not_exceed() -> None:
    assert [ranked([4, 1, 3, 2], share) for share in (0.5, 0.99)] == [3, 4]


async def test_without_chromium_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    rows = [row async for row in run(Plan())]

    assert [(row.figure, row.note) for row in rows] == [(None, "left out: chromium is not installed")]
