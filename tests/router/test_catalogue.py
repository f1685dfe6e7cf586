"""Tests the registry of event types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from router import catalogue
from router.catalogue import RUN_DOMAINS, Delivery, EventType, check, ending, find
from router.errors import BadData, BadInput
from router.event import Event

DOCUMENTS = (
    "thinking", "tool_use", "tool_result", "progress", "completion", "error",
    "workflow_start", "workflow_step", "workflow_complete", "model_selection", "streaming_chunk",
    "token", "status", "delta", "done",
    "job_progress", "video_render_progress", "ai_stream_chunk", "council_score_stream", "ai_evaluation_stream",
    "campaign_metrics", "ab_test_result", "live_metric_update", "alert",
)  # fmt: skip


@pytest.fixture
def own() -> Iterator[EventType]:
    made = EventType("placed", "An order.", "orders", delivery=Delivery.LATEST, key=("sku",))
    catalogue.register(made)
    yield made
    catalogue.unregister(made)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_type_of_the_documents_is_registered_with_a_schema(name: str) -> None:
    assert find(name, "agent").schema is not None and catalogue.is_registered(name)


def test_an_unregistered_type_is_a_plain_one_of_which_every_event_counts() -> None:
    found = find("never_heard_of", "orders")
    assert found is find("never_heard_of", "billing")
    assert (found.delivery, found.schema, found.ending({"success": True})) == (Delivery.LOG, None, None)
    check("never_heard_of", {"progress": "lots"})


def test_a_domain_s_own_declaration_goes_before_the_common_one() -> None:
    schemas = {domain: find("state", domain).schema for domain in ("agent", "camera", "octane", "orders")}
    assert schemas["orders"] is None and len({id(schema) for schema in schemas.values()}) == 4
    with pytest.raises(BadData):
        check("state", {"fps": 30}, "camera")
    check("state", {"fps": "many"}, "orders")


@pytest.mark.parametrize(
    ("type", "data", "how"),
    [
        ("completion", {"success": True}, "completed"),
        ("completion", {}, "completed"),
        ("completion", {"success": False}, "failed"),
        ("completion", {"error": "out of memory"}, "failed"),
        ("completion", {"success": False, "status": "cancelled"}, "cancelled"),
        ("complete", {"status": "stopped"}, "cancelled"),
        ("done", {"content": "That is all."}, "completed"),
        ("workflow_complete", {"success": True}, "completed"),
        ("workflow_complete", {"success": True, "parent_id": "step-1"}, None),
        ("job_progress", {"status": "processing", "progress": 0.5}, None),
        ("job_progress", {"status": "completed"}, "completed"),
        ("job_progress", {"status": "failed"}, "failed"),
        ("job_progress", {"status": "cancelled"}, "cancelled"),
        ("job_progress", {"progress": 1.0}, None),
        ("video_render_progress", {"stage": "rendering"}, None),
        ("video_render_progress", {"stage": "complete"}, "completed"),
        ("council_score_stream", {"stage": "gemini", "isComplete": True}, None),
        ("council_score_stream", {"stage": "complete", "isComplete": True}, "completed"),
        ("ai_evaluation_stream", {"chunk": "", "isComplete": True}, "completed"),
        ("ai_stream_chunk", {"chunk": "so", "isComplete": False}, None),
        ("progress", {"progress": 1.0, "status": "completed"}, None),
        ("never_heard_of", {"success": True}, None),
    ],
)
def test_only_terminal_events_end_a_run(type: str, data: dict[str, Any], how: str | None) -> None:
    assert [ending(domain, type, data) for domain in RUN_DOMAINS] == [how] * 3
    assert ending("orders", type, data) is None


def test_the_types_that_may_end_a_run_are_found_for_its_domain() -> None:
    assert {"completion", "complete", "done", "workflow_complete", "job_progress"} <= set(
        catalogue.terminal_types("job")
    )
    assert "progress" not in catalogue.terminal_types("job")
    assert catalogue.terminal_types("camera") == ()


def test_an_event_that_ends_a_job_is_never_superseded() -> None:
    going = Event.new("job.7.job_progress", {"status": "processing", "progress": 0.5})
    over = Event.new("job.7.job_progress", {"status": "completed"})
    assert (going.delivery, over.delivery) == (Delivery.LATEST, Delivery.LOG)


def test_figures_of_one_subject_have_a_key_for_each_campaign() -> None:
    one, other, again = (
        Event.new("metric.all.campaign_metrics", {"metrics": {}, name: campaign}).conflation_key
        for name, campaign in (("campaignId", "a"), ("campaignId", "b"), ("campaign_id", "a"))
    )
    assert one == again != other
    assert Event.new("metric.all.campaign_metrics", {"metrics": {}}, key="mine").conflation_key == "mine"


def test_a_registered_type_is_found_and_its_name_is_taken(own: EventType) -> None:
    assert find("placed", "orders") is own
    assert find("placed", "billing").delivery is Delivery.LOG
    assert own in catalogue.all_types()
    assert Event.new("orders.1.placed", {"sku": "tea"}).conflation_key == "orders.1.placed\0tea"
    with pytest.raises(BadInput, match="already registered"):
        catalogue.register(EventType("placed", domain="orders"), EventType("sold"))
    assert not catalogue.is_registered("sold")


def test_each_declaration_is_whole() -> None:
    for each in catalogue.all_types():
        if each.example is not None:
            each.check(each.example)
        assert each.summary.endswith("."), each.name
        assert set(each.reduce.values()) <= catalogue.REDUCERS, each.name
        fields = set(each.schema.__struct_fields__) if each.schema else None
        named = {*each.key, *(name.split(".")[0] for name in each.reduce), *each.either}
        assert fields is None or named <= fields, (each.name, named - fields)
        assert each.delivery is not Delivery.APPEND or each.text is not None, each.name


def test_a_figure_of_a_campaign_is_a_number_or_null_whatever_its_name() -> None:
    for metrics in ({"cpc": "5"}, {"cpc": True}, {"cpc": []}):
        with pytest.raises(BadData) as fault:
            catalogue.check("campaign_metrics", {"metrics": metrics})
        assert (fault.value.field, fault.value.type) == ("metrics.cpc", "campaign_metrics")
    catalogue.check("campaign_metrics", {"metrics": {"cpc": 5, "cpm": None}, "change": None})
