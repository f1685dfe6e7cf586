"""Tests of actors/agent/runs.py."""

from __future__ import annotations

from actors.agent.record import RunRecord
from actors.agent.runs import Runs


def test_of_too_many_runs_those_that_are_over_go_first() -> None:
    runs = Runs(most=3)
    records = [RunRecord("job", f"j{n}", 0, 0, status="completed" if n == 1 else "running") for n in range(5)]

    for record in records:
        runs.keep(record)

    assert [record.token for record in runs] == ["j4", "j3", "j2"]


def test_runs_that_are_over_are_forgotten_after_a_while() -> None:
    runs = Runs(most=10)
    for n, status in enumerate(["completed", "running", "failed"]):
        runs.keep(RunRecord("job", f"j{n}", 0, 0, status=status, heard=float(n)))

    runs.drop_over(before=2.0)

    assert [record.token for record in runs] == ["j1", "j2"]


def test_a_run_that_begins_again_is_open_again() -> None:
    runs = Runs(most=2)
    record = RunRecord("job", "j1", 0, 0, status="completed")
    runs.keep(record)
    assert runs.open() == []

    record.status = "running"
    runs.keep(record)

    assert runs.open() == [record] and len(runs) == 1 and runs.get("job.j1") is record
