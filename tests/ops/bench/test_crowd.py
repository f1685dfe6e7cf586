"""The crowd benchmark: as many edges as the limit of open files asks for, and a figure only where all have had everything."""

from __future__ import annotations

import resource

import pytest

from ops.bench import crowd
from ops.bench.crowd import FEWEST, MOST, SPARE, edges_for, run
from ops.bench.stand import Plan


@pytest.mark.parametrize(
    ("count", "files", "edges"),
    [(10_000, 20_000, FEWEST), (100_000, 20_000, 8), (100_000, 1_000_000, FEWEST), (100, SPARE, MOST + 1)],
)
def test_there_are_edges_enough_that_two_can_take_the_connections_of_a_third(
    count: int, files: int, edges: int
) -> None:
    assert edges_for(count, files) == edges
    if edges <= MOST:
        assert count / edges * 1.5 <= files - SPARE + 1


async def test_a_crowd_beyond_the_limit_of_open_files_is_left_out() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE + 100, hard))
    try:
        (row,) = [row async for row in run(Plan())]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert row.figure is None and f"only {SPARE + 100:,} files may be open" in row.note


@pytest.mark.slow
async def test_a_small_crowd_is_measured_and_one_of_its_edges_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "SMALL", 60)
    monkeypatch.setattr(crowd, "IDLE_SECONDS", 1)

    rows = [row async for row in run(Plan())]

    assert [row.unit for row in rows] == ["s", "kB", "%", "s", "s"]
    opened, _, idle, events, back = rows
    assert opened.what.startswith("60 connections, half WebSocket, half SSE, over 3 edges")
    assert all(row.figure is not None and row.figure >= 0 for row in (opened, idle, events, back))
    assert len(events.runs) == 3 and back.what.startswith("20 connections of a dead edge")
