"""Tests of router/metrics.py."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry

from router.broker import Broker
from router.event import Event
from router.metrics import NatsFigures, survey
from router.nats.counters import BOUNDS, Figures
from router.topology import TopologySettings
from tests.waiting import eventually


def test_counters_are_exported_as_they_stand() -> None:
    figures = Figures()
    registry = CollectorRegistry()
    registry.register(NatsFigures(figures))
    figures.published["stored"] += 3
    figures.undecodable["SESSIONS"] = 2
    figures.publish.observe(BOUNDS[0])

    assert registry.get_sample_value("router_published_events_total", {"outcome": "stored"}) == 3
    assert registry.get_sample_value("router_undecodable_values_total", {"bucket": "SESSIONS"}) == 2
    assert registry.get_sample_value("router_publish_seconds_bucket", {"le": str(BOUNDS[0])}) == 1
    assert registry.get_sample_value("router_publish_seconds_count") == 1
    assert registry.get_sample_value("router_nats_connected") == 0


async def test_a_survey_reads_the_state_of_every_stream(broker: Broker, entity: str) -> None:
    ack = await broker.publish(Event.new(f"job.{entity}.progress"))
    surveying = asyncio.ensure_future(survey(broker.connection, TopologySettings(), lambda: broker.layout))

    def sample(name: str, stream: str = "EVENTS") -> float:
        return REGISTRY.get_sample_value(name, {"stream": stream}) or 0.0

    await eventually(lambda: sample("router_stream_last_sequence") >= ack.sequence)
    await eventually(lambda: sample("router_stream_leader", "KV_ENDPOINTS") == 1)
    assert sample("router_stream_messages") >= 1 and 0 < sample("router_stream_fullness_ratio") < 1
    surveying.cancel()
