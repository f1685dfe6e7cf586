"""Webhook metrics have labels from closed sets only, and count attempts, delays and partitions."""

from __future__ import annotations

import time

import pytest
from prometheus_client import REGISTRY

from edge.webhooks import metrics


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(("fault", "outcome"), [("", "delivered"), ("timeout", "timeout"), ("never heard of", "other")])
def test_an_attempt_is_counted_by_its_outcome_and_an_unknown_fault_as_other(fault: str, outcome: str) -> None:
    before = value("edge_webhook_attempts_total", outcome=outcome), value("edge_webhook_seconds_count")

    metrics.attempt(fault, 0.5)

    assert value("edge_webhook_attempts_total", outcome=outcome) == before[0] + 1
    assert value("edge_webhook_seconds_count") == before[1] + 1


def test_every_outcome_and_state_is_exported_from_the_beginning() -> None:
    for outcome in (*metrics.OUTCOMES, "other"):
        assert REGISTRY.get_sample_value("edge_webhook_attempts_total", {"outcome": outcome}) is not None, outcome
    for state in metrics.STATES:
        assert REGISTRY.get_sample_value("edge_webhook_endpoints", {"state": state}) is not None, state


def test_accepted_events_count_from_when_they_were_published_and_never_less_than_nothing() -> None:
    labels = {"transport": "webhook"}
    before = (
        value("edge_publish_to_acknowledge_seconds_count", **labels),
        value("edge_publish_to_acknowledge_seconds_sum", **labels),
    )

    metrics.acknowledged(time.time_ns() + 3_600_000_000_000, 3)

    assert value("edge_publish_to_acknowledge_seconds_count", **labels) == before[0] + 3
    assert value("edge_publish_to_acknowledge_seconds_sum", **labels) == before[1]


def test_attempts_under_way_are_counted_when_they_are_asked_for() -> None:
    before, attempt = value("edge_webhook_in_flight"), object()

    metrics.under_way.add(attempt)
    try:
        assert value("edge_webhook_in_flight") == before + 1
    finally:
        metrics.under_way.discard(attempt)


def test_partitions_are_reported_as_they_stand_and_losses_add_up() -> None:
    before = value("edge_webhook_leases_lost_total")

    metrics.PartitionMetrics().stand(owned=3, unowned=1)
    metrics.PartitionMetrics().lost(2)

    assert (value("edge_webhook_partitions"), value("edge_webhook_partitions_unowned")) == (3, 1)
    assert value("edge_webhook_leases_lost_total") == before + 2
