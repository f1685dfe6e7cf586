"""Tests that the gauges show the state of readers, sessions and readiness at the time of a scrape."""

from __future__ import annotations

from prometheus_client import REGISTRY

from edge.collector import CHECKS, EdgeCollector
from edge.runtime import Edge
from edge.settings import EdgeSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.broker import Broker
from router.store_health import CODES


def values(collector: EdgeCollector, name: str) -> dict[tuple[str, ...], float]:
    samples = [sample for family in collector.collect() for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_without_an_edge_every_series_is_there_and_zero() -> None:
    collector = EdgeCollector()

    assert values(collector, "edge_ready") == {(check,): 0.0 for check in CHECKS}
    assert values(collector, "edge_store_state") == {(code,): 0.0 for code in CODES}
    assert set(values(collector, "edge_sessions")) == {("websocket",), ("sse",), ("polling",), ("webhook",)}
    assert values(collector, "edge_lag_events") == {(): 0.0}


async def test_an_edge_is_shown_for_as_long_as_it_is_kept(broker: Broker) -> None:
    collector = EdgeCollector()
    edge = Edge(EdgeSettings(), broker, GuardSettings())
    watched = collector.watch(edge.hub, edge.registry, edge.store, lambda: edge.ready)

    assert values(collector, "edge_ready")["nats",] == 1.0
    assert values(collector, "edge_ready")["sessions",] == 0.0  # it does not run, so it has read none
    assert sum(values(collector, "edge_store_state").values()) == 1.0

    edge.draining = True
    assert values(collector, "edge_ready")["not_draining",] == 0.0

    del watched
    assert sum(values(collector, "edge_store_state").values()) == 0.0


def test_it_is_registered_once() -> None:
    assert len([each for each in REGISTRY._collector_to_names if isinstance(each, EdgeCollector)]) == 1
