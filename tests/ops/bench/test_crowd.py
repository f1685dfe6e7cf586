"""The crowd benchmark: as many edges as the limit of open files asks for, and a figure only where all have had everything."""

from __future__ import annotations

import resource

import pytest

from ops.bench import crowd
from ops.bench.crowd import FEWEST, MOST, SPARE, edges_for, heartbeats_a_second, run
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


@pytest.mark.parametrize(("readers", "rate"), [(0, 0.0), (96, 8.0), (12_500, 100 / 12 + 100 / 24 + 12_300 / 54)])
def test_heartbeats_of_a_crowd_are_counted_by_their_periods(readers: int, rate: float) -> None:
    assert heartbeats_a_second(readers) == pytest.approx(rate)


@pytest.mark.slow
async def test_a_small_crowd_with_tokens_is_measured_one_of_its_edges_dies_and_another_one_is_left_by_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"SMALL": 60, "STORM": 40, "USERS": 4, "IDLE_SECONDS": 1, "BASE_SECONDS": 1}.items():
        monkeypatch.setattr(crowd, name, value)

    rows = [row async for row in run(Plan())]

    assert [row.unit for row in rows] == ["s", "kB", "%", "s", "s", "s"]
    opened, _, idle, events, back, storm = rows
    assert opened.what.startswith("60 connections, half WebSocket, half SSE, over 3 edges")
    assert "WebSocket 0." in opened.note and "SSE 0." in opened.note and "tokens of 4 users" in opened.note
    assert all(row.figure is not None and row.figure >= 0 for row in (opened, idle, events, back, storm))
    assert "heartbeats a second, of which" in idle.note
    assert len(events.runs) == 3 and "of its reader's" in events.note
    assert back.what.startswith("20 connections of a dead edge") and storm.what.startswith("40 readers")
