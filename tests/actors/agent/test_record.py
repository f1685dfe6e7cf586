"""Tests of actors/agent/record.py: how events become the state of a run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agent.record import Change, RunRecord
from actors.system.actor import Reject
from router.event import Event

BEGAN = 1_790_000_000_000_000_000


def said(kind: str, data: dict[str, Any] | None = None, at: float = 0.0, **fields: Any) -> Event:
    return Event.new(f"agent.run-1.{kind}", data or {}, time_ns=BEGAN + int(at * 1e9), **fields)


def begun() -> RunRecord:
    record = RunRecord("agent", "run-1", BEGAN, BEGAN)
    record.begin(said("workflow_start", {"name": "One", "incarnation": "a"}))
    return record


shares = st.floats(0, 1)
facts = st.one_of(
    st.builds(lambda share: ("progress", {"progress": share}), shares),
    st.builds(lambda share: ("progress", {"percent": share * 100}), shares),
    st.builds(lambda n, of: ("progress", {"current": min(n, of), "total": of}), st.integers(0, 99), st.integers(1, 99)),
    st.just(("thinking", {"thought": "…"})),
    st.just(("stopping", {})),
)


@given(st.lists(facts, max_size=30))
def test_progress_never_goes_down_inside_a_run(told: list[tuple[str, dict[str, Any]]]) -> None:
    record, before = begun(), 0.0

    for n, (kind, data) in enumerate(told):
        record.fold(said(kind, data, at=n))
        assert record.progress is None or before <= record.progress <= 1
        before = record.progress or 0.0
        assert record.rate is None or record.rate >= 0
        assert record.eta_seconds is None or record.eta_seconds >= 0


@given(
    st.sampled_from(["progress", "completion", "error", "status", "workflow_step", "output", "stopping"]),
    st.dictionaries(
        st.sampled_from(
            [
                "progress",
                "percent",
                "current",
                "total",
                "rate",
                "eta_seconds",
                "current_step",
                "total_steps",
                "message",
                "stage",
                "error",
                "success",
                "exit_code",
                "tokens_used",
                "status",
            ]
        ),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)),
    ),
)
def test_nonsense_is_rejected_or_passed_over_and_harms_nothing(kind: str, data: dict[str, Any]) -> None:
    record = begun()
    before = record.state()

    try:
        record.fold(said(kind, data))
    except Reject as fault:
        assert str(fault)
        assert record.state() == before
    assert record.progress is None or 0 <= record.progress <= 1
    assert RunRecord.of_state(Event.new("agent.run-1.state", record.state())) is not None


@pytest.mark.parametrize(
    ("data", "progress"),
    [
        ({"progress": 0.65}, 0.65),
        ({"progress": 1}, 1.0),
        ({"progress": 1.0000001}, 1.0),
        ({"percent": 65}, 0.65),
        ({"progress": 65, "percent": True}, 0.65),
        ({"progress": 0.5, "percent": 50}, 0.5),
        ({"current": 13, "total": 20}, 0.65),
        ({"current_step": 13, "total_steps": 20}, 0.65),
        ({"current_step": "feature_extraction", "total_steps": 5}, None),
        ({"message": "no number"}, None),
    ],
)
def test_progress_is_understood_in_each_of_its_shapes(data: dict[str, Any], progress: float | None) -> None:
    record = begun()

    record.fold(said("progress", data))

    assert record.progress == (pytest.approx(progress) if progress is not None else None)


@pytest.mark.parametrize(
    "data",
    [{"progress": "half"}, {"progress": 65}, {"progress": -0.1}, {"progress": float("nan")}, {"progress": True},
     {"percent": 120}, {"current": "x"}, {"rate": -1}],
)  # fmt: skip
def test_progress_that_is_none_is_rejected_with_a_reason(data: dict[str, Any]) -> None:
    with pytest.raises(Reject, match="must be"):
        begun().fold(said("progress", data))


def test_the_rate_and_what_is_left_are_worked_out() -> None:
    record = begun()

    for second in range(11):
        record.fold(said("progress", {"current": second * 5, "total": 100}, at=second))

    assert record.rate == pytest.approx(5)
    assert record.eta_seconds == pytest.approx(10)
    bare = begun()
    for second in range(11):
        bare.fold(said("progress", {"progress": second / 20}, at=second))
    assert bare.rate == pytest.approx(0.05) and bare.eta_seconds == pytest.approx(10)


def test_what_the_producer_says_of_its_speed_wins() -> None:
    record = begun()

    record.fold(said("progress", {"progress": 0.1}, at=0))
    record.fold(said("progress", {"progress": 0.2, "rate": 12.5, "eta_seconds": 3}, at=1))

    assert (record.rate, record.eta_seconds) == (12.5, 3)


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        ({"success": True, "result": 1}, "completed", None),
        ({}, "completed", None),
        ({"success": False, "error": "exit code 3", "exit_code": 3}, "failed", "exit code 3"),
        ({"success": False}, "failed", "failed"),
        ({"status": "failed"}, "failed", "failed"),
        ({"success": False, "status": "cancelled", "error": "cancelled"}, "cancelled", "cancelled"),
        ({"success": False, "cancelled": True}, "cancelled", None),
    ],
)
def test_a_completion_ends_the_run_in_its_way(data: dict[str, Any], status: str, error: str | None) -> None:
    record = begun()

    assert record.fold(said("completion", data, at=2)) is Change.TURNED

    assert (record.status, record.error, record.exit_code) == (status, error, data.get("exit_code"))
    assert record.progress == (1.0 if status == "completed" else None)


def test_a_run_ends_once_and_only_a_new_start_opens_it() -> None:
    record = begun()
    end = said("completion", {"success": False, "error": "first"}, at=2)
    record.fold(end)
    over = record.state()

    assert record.fold(end) is Change.REPEATED
    assert record.fold(said("completion", {"success": True}, at=3)) is Change.SECOND
    assert record.fold(said("progress", {"progress": 0.9}, at=4)) is Change.LATE
    assert record.begin(said("workflow_start", {"incarnation": "a"})) is Change.REPEATED
    assert record.state() == over

    assert record.begin(said("workflow_start", {"incarnation": "b"}, at=5)) is Change.TURNED
    assert (record.status, record.progress, record.error) == ("running", None, None)
    assert record.name == "One" and record.started == BEGAN + 5_000_000_000


def test_a_stopping_run_stays_so_until_its_end() -> None:
    record = begun()

    assert record.fold(said("stopping")) is Change.TURNED
    assert record.fold(said("stopping")) is Change.CHANGED
    record.fold(said("progress", {"progress": 0.4}))
    assert record.status == "stopping"
    record.fold(said("completion", {"success": True}))
    assert record.status == "completed"


def test_a_state_is_made_a_run_again() -> None:
    record = begun()
    record.fold(said("progress", {"current": 3, "total": 10, "message": "m", "stage": "s", "rate": 2.0}, at=1))
    record.leased = True

    again = RunRecord.of_state(Event.new("agent.run-1.state", record.state()))

    assert again is not None and again.state() == record.state()
    assert RunRecord.of_state(Event.new("agent.run-1.state", {"status": "running"})) is None
    assert RunRecord.of_state(Event.new("agent.run-1.state", {**record.state(), "status": "odd"})) is None


def test_the_picture_that_an_end_links_to_is_part_of_the_state_until_the_run_goes_on() -> None:
    record = begun()
    record.fold(said("completion", {"success": True, "picture": "/runs/run-1/picture?signature=x"}, at=2))
    state = record.state()
    again = RunRecord.of_state(Event.new("agent.run-1.state", state))

    assert again is not None and state["picture"] == again.picture == "/runs/run-1/picture?signature=x"
    record.begin(said("workflow_start", {"incarnation": "b", "resumed": True}, at=3))
    assert record.state()["picture"] is None
