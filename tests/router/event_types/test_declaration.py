"""Tests how a type's data are checked, and how a fault is told."""

from __future__ import annotations

from typing import Any

import pytest

from router.catalogue import check
from router.errors import BadData, BadEvent
from router.event_types.declaration import outcome_of, snake


@pytest.mark.parametrize(
    ("type", "data", "field", "reason"),
    [
        ("progress", {"progress": "half"}, "progress", "expected float | null, got str"),
        ("progress", {"progress": 65}, "progress", "it must be from 0 to 1, not 65; a percentage is given as percent"),
        ("progress", {"progress": float("nan")}, "progress", "it must be from 0 to 1, not nan"),
        ("progress", {"progress": 101, "percent": True}, "progress", "it must be from 0 to 100, not 101"),
        ("progress", {"current": -1}, "current", "expected float >= 0.0"),
        ("tool_use", {"parameters": {}}, "tool_name", "it is missing"),
        ("tool_use", {"tool_name": "x", "parameters": "q"}, "parameters", "expected object | null, got str"),
        ("completion", {"success": "yes"}, "success", "expected bool | null, got str"),
        ("completion", {"tokens_used": 1.5}, "tokens_used", "expected int | null, got float"),
        ("job_progress", {"status": "odd"}, "status", "invalid enum value 'odd'"),
        ("campaign_metrics", {"metrics": {"clicks": "many"}}, "metrics.clicks", "expected float | null, got str"),
        ("council_score_stream", {"stage": "complete", "finalScore": {}}, "finalScore.composite", "it is missing"),
        ("token", {"text": None}, "content", "one of content, delta, chunk, text, token must be there"),
        ("alert", {"severity": "purple", "title": "x"}, "severity", "invalid enum value 'purple'"),
    ],
)
def test_a_fault_names_the_field_and_says_why(type: str, data: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(BadData) as fault:
        check(type, data)
    assert (fault.value.field, fault.value.reason, fault.value.type) == (field, reason, type)
    assert isinstance(fault.value, BadEvent) and str(fault.value) == f"{type}: data.{field}: {reason}"


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("progress", {}),
        ("progress", {"n": 5, "progress": 1 + 1e-9, "message": None}),
        ("progress", {"progress": 65, "percent": True}),
        ("progress", {"current": 3, "total": 10, "current_step": "features"}),
        ("progress", {1: "a field without a name", "progress": 1}),
        ("tool_use", {"tool_name": "search", "parameters": {1: 2}, "more": [1]}),
        ("token", {"content": {"text": "a part"}}),
        ("error", {"content": "no more room"}),
    ],
)
def test_other_fields_and_what_a_producer_may_leave_out_are_allowed(type: str, data: dict[Any, Any]) -> None:
    check(type, data)


def test_how_a_run_ended_is_read_from_success_before_status_and_error() -> None:
    assert outcome_of({"success": True, "status": "failed", "error": "x"}) == "completed"
    assert outcome_of({"success": False, "status": "canceled"}) == "cancelled"
    assert outcome_of({"cancelled": True}) == "cancelled"
    assert outcome_of({"error": ""}) == "completed"


def test_a_name_in_camel_case_has_one_in_snake_case() -> None:
    assert [snake(name) for name in ("campaignId", "deltaPercent", "sku", "tokensUsed")] == [
        "campaign_id", "delta_percent", "sku", "tokens_used",
    ]  # fmt: skip
