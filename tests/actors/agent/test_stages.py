"""Tests of actors/agent/stages.py: what a run consists of, and what each stage took."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agent.record import RunRecord
from actors.agent.stages import MAX_STAGES, Stages
from actors.system.actor import Reject
from router.event import Event

BEGAN = 1_790_000_000_000_000_000


def said(kind: str, data: dict[str, Any] | None = None, at: float = 0.0, **fields: Any) -> Event:
    return Event.new(f"agent.run-1.{kind}", data or {}, time_ns=BEGAN + int(at * 1e9), **fields)


def shown(stages: Stages) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = stages.shown()["stages"]
    return listed


def told(*events: Event, limit: int = MAX_STAGES) -> Stages:
    stages = Stages(limit)
    for event in events:
        stages.fold(event)
    return stages


def test_a_tool_is_a_stage_from_its_use_to_the_result_that_it_caused() -> None:
    first, second = said("tool_use", {"tool_name": "search"}), said("tool_use", {"tool_name": "search"}, at=1)
    stages = told(
        first,
        second,
        said("tool_result", {"tool_name": "search", "success": True, "tokens_used": 40, "cost": 0.5}, at=3, cause=second.id),
        said("tool_result", {"tool_name": "search", "success": False, "error": "no route", "execution_time": 2.5}, at=4),
    )  # fmt: skip

    one, two = shown(stages)
    assert (one["status"], one["duration"], one["error"]) == ("failed", 2.5, "no route")
    assert (two["status"], two["duration"], two["tokens_used"], two["cost"]) == ("completed", 2.0, 40, 0.5)
    assert stages.totals() == (40, 0.5)


def test_a_result_without_a_use_is_a_stage_that_took_what_it_says() -> None:
    (stage,) = shown(told(said("tool_result", {"tool_name": "read", "execution_time": 3}, at=10)))

    assert (stage["duration"], stage["kind"], stage["started"]) == (3, "tool", "2026-09-21T14:13:27.000000Z")


def test_steps_that_say_nothing_of_their_status_follow_one_another() -> None:
    stages = told(
        said("workflow_step", {"step": "load"}),
        said("workflow_step", {"step": "train", "message": "epoch 1"}, at=2),
        said("workflow_step", {"step": 3}, at=5),
    )

    assert [(each["name"], each["status"], each.get("duration")) for each in shown(stages)] == [
        ("load", "completed", 2.0), ("train", "completed", 3.0), ("3", "running", None),
    ]  # fmt: skip


def test_steps_that_say_their_status_may_run_side_by_side_and_inside_one_another() -> None:
    stages = told(
        said("workflow_step", {"span": "s1", "name": "train", "status": "started"}),
        said("workflow_step", {"span": "s2", "name": "epoch", "parent": "s1", "status": "running"}, at=1),
        said("tool_use", {"tool_name": "gpu", "span": "t1", "parent": "s2"}, at=1),
        said("tool_result", {"tool_name": "gpu", "span": "t1", "tokens_used": 7, "cost": 0.25}, at=2),
        said("workflow_step", {"span": "s2", "name": "epoch", "status": "complete", "tokens_used": 9}, at=3),
        said("workflow_complete", {"span": "s1", "parent": "run-1", "duration": 3.5}, at=4),
    )

    assert [(each["id"], each.get("parent"), each["status"], each["duration"]) for each in shown(stages)] == [
        ("s1", None, "completed", 3.5), ("s2", "s1", "completed", 2.0), ("t1", "s2", "completed", 1.0),
    ]  # fmt: skip
    # What a step says it took has what its tools took in it; what it does not say is theirs.
    assert stages.totals() == (9, 0.25)


def test_what_an_adapter_of_a_library_reports_is_a_tree_of_steps_models_and_tools() -> None:
    # As router/sdk/adapters/spans.py emits it.
    stages = told(
        said("workflow_step", {"step": "agent", "kind": "node", "status": "started", "span": "n"}),
        said("model_selection", {"model": "m-1", "span": "m", "parent": "n"}, at=1),
        said("thinking", {"thought": "…", "span": "m", "parent": "n"}, at=1),
        said("workflow_step", {"step": "m-1", "kind": "model", "status": "completed", "duration": 1.5, "tokens_used": 12,
                               "span": "m", "parent": "n"}, at=3),
        said("tool_use", {"tool_name": "search", "span": "t", "parent": "n"}, at=3),
        said("tool_result", {"tool_name": "search", "success": False, "status": "cancelled", "span": "t", "parent": "n"}, at=4),
        said("workflow_step", {"step": "agent", "kind": "node", "status": "completed", "duration": 5.0, "span": "n"}, at=5),
    )  # fmt: skip

    assert [(each["name"], each["kind"], each.get("parent"), each["status"], each["duration"]) for each in shown(stages)] == [
        ("agent", "node", None, "completed", 5.0), ("m-1", "model", "n", "completed", 1.5),
        ("search", "tool", "n", "cancelled", 1.0),
    ]  # fmt: skip
    assert stages.totals() == (12, None)


def test_a_step_that_is_told_of_when_it_is_over_began_before() -> None:
    (stage,) = shown(told(said("workflow_step", {"step": "x", "status": "completed", "duration": 2}, at=10)))

    assert (stage["started"], stage["duration"]) == ("2026-09-21T14:13:28.000000Z", 2)


def test_a_stage_has_a_progress_a_rate_and_what_is_left_of_its_own() -> None:
    stages = told(said("workflow_step", {"step": "frames", "status": "running"}))
    for second in range(5):
        stages.advance(said("progress", {"step": "frames", "current": second * 2, "total": 20}, at=second))

    (stage,) = shown(stages)
    assert (stage["progress"], stage["rate"], stage["eta_seconds"]) == (0.4, 2.0, 6.0)
    stages.fold(said("workflow_step", {"step": "frames", "status": "completed"}, at=10))
    (stage,) = shown(stages)
    assert stage["progress"] == 1.0 and "eta_seconds" not in stage


def test_tokens_of_other_events_are_added_to_their_stage_or_to_the_run() -> None:
    stages = told(
        said("workflow_step", {"span": "s", "name": "plan", "status": "running"}),
        said("thinking", {"thought": "…", "tokens_used": 10, "span": "s"}),
        said("thinking", {"thought": "…", "tokens_used": 5, "parent": "s"}),
        said("model_selection", {"model": "m", "tokens_used": 2, "cost": 0.1}),
    )

    assert shown(stages)[0]["tokens_used"] == 15
    assert stages.totals() == (17, 0.1)


def test_the_oldest_that_are_over_are_left_out_and_stay_in_the_totals() -> None:
    events = [said("workflow_step", {"span": "open", "name": "all", "status": "running"})]
    for n in range(10):
        use = said("tool_use", {"tool_name": f"t{n}"}, at=n)
        events += [use, said("tool_result", {"tool_name": f"t{n}", "tokens_used": 1}, at=n, cause=use.id)]
    stages = told(*events, limit=4)

    assert [stage["name"] for stage in shown(stages)] == ["all", "t7", "t8", "t9"]
    assert stages.left_out == 7 and stages.totals() == (10, None)


def test_a_child_run_is_a_stage_until_it_ends() -> None:
    parent, child = RunRecord("agent", "run-1", BEGAN, BEGAN), RunRecord("job", "sub", BEGAN, BEGAN)
    child.begin(Event.new("job.sub.workflow_start", {"name": "Sub", "parent": "run-1"}, time_ns=BEGAN))
    parent.take_child(child)
    child.fold(Event.new("job.sub.completion", {"tokens_used": 30, "cost": 1.5}, time_ns=BEGAN + 2_000_000_000))
    parent.take_child(child)

    assert parent.stages is not None
    (stage,) = shown(parent.stages)
    assert (stage["id"], stage["kind"], stage["status"], stage["duration"]) == ("job.sub", "run", "completed", 2.0)
    assert (parent.state()["tokens_used"], parent.state()["cost"], parent.state()["stage_count"]) == (30, 1.5, 1)


def test_what_is_open_when_the_run_ends_ends_with_it() -> None:
    stages = told(said("workflow_step", {"step": "load"}), said("tool_use", {"tool_name": "x"}))

    stages.end(BEGAN + 1_000_000_000, "failed")

    assert [(each["status"], each["duration"]) for each in shown(stages)] == [("failed", 1.0), ("failed", 1.0)]


def test_stages_are_rebuilt_from_what_was_published() -> None:
    stages = told(
        said("workflow_step", {"step": "load"}),
        said("workflow_step", {"step": "train", "current": 1, "total": 4, "tokens_used": 3}, at=2),
        said("model_selection", {"model": "m", "tokens_used": 2}),
    )

    again = Stages.of_shown(stages.shown())

    assert again.shown() == stages.shown() and again.totals() == stages.totals()
    assert len(Stages.of_shown({"stages": [1, {"id": "a"}, {**shown(stages)[0], "started": "odd"}]})) == 0


names = st.sampled_from(["a", "b", "c"])
events = st.builds(
    lambda kind, data: said(kind, data),
    st.sampled_from(["workflow_step", "tool_use", "tool_result", "workflow_complete", "thinking", "progress"]),
    st.dictionaries(
        st.sampled_from(["span", "parent", "step", "name", "tool_name", "status", "tokens_used", "cost", "progress"]),
        st.one_of(names, st.integers(-1, 5), st.floats(allow_nan=True), st.sampled_from(["completed", "running"])),
    ),
)


@given(st.lists(events, max_size=40), st.integers(1, 5))
def test_whatever_comes_the_stages_are_bounded_and_their_totals_not_negative(seen: list[Event], limit: int) -> None:
    stages = Stages(limit)
    for event in seen:
        before = stages.shown()
        try:
            (stages.advance if event.type == "progress" else stages.fold)(event)
        except Reject:
            assert stages.shown() == before
        assert len(stages) <= limit
    assert Stages.of_shown(stages.shown()).shown() == stages.shown()


def test_a_malformed_number_changes_nothing() -> None:
    stages = Stages()
    with pytest.raises(Reject, match="total_steps"):
        stages.fold(said("workflow_step", {"step": "x", "total_steps": -1}))

    assert shown(stages) == []
