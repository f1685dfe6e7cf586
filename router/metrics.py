"""Exports the metrics of NATS to Prometheus: connections, publishing, and the state of the streams."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import REGISTRY, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from router import topology
from router.coalescing import coalesced_sleep
from router.cursor import parse_time
from router.errors import BrokerError, Refused
from router.layout import Layout
from router.nats.connection import Connection
from router.nats.counters import BOUNDS, Delays, Figures, figures
from router.nats.stream import Stream
from router.topology import TopologySettings

log = logging.getLogger(__name__)

# The server counts for us, and gauges are scraped as often as this.
SURVEY_SECONDS = 15.0

_BY_STREAM = ("stream",)
_BY_BUCKET = ["bucket"]
# Each process that asks shows the same: take the maximum by stream, never the sum.
messages = Gauge("router_stream_messages", "Messages that a stream holds", _BY_STREAM)
size = Gauge("router_stream_bytes", "Bytes that a stream holds", _BY_STREAM)
fullness = Gauge("router_stream_fullness_ratio", "Share of its room that a stream takes; 0 without a limit", _BY_STREAM)
sequence = Gauge("router_stream_last_sequence", "Sequence of the newest message of a stream", _BY_STREAM)
oldest = Gauge("router_stream_oldest_age_seconds", "Age of the oldest message kept; 0 where there is none", _BY_STREAM)
consumers = Gauge("router_stream_consumers", "Consumers of a stream", _BY_STREAM)
leader = Gauge("router_stream_leader", "1 where a stream has a leader and answers, else 0", _BY_STREAM)
behind = Gauge("router_stream_replicas_behind", "Replicas of a stream that are not current, or away", _BY_STREAM)
_GAUGES = (messages, size, fullness, sequence, oldest, consumers, leader, behind)
surveyed = Gauge("router_streams_surveyed_timestamp_seconds", "When the streams were last asked how they stand")


async def survey(connection: Connection, settings: TopologySettings, layout: Callable[[], Layout]) -> None:
    """Asks all streams how they stand, those of former generations too, at intervals, until cancelled."""
    shown: list[str] = []
    while True:
        if connection.connected:
            declared = [stream.name for stream in topology.streams(settings, layout())]
            names = list(dict.fromkeys([*declared, *layout().by_stream]))
            await asyncio.gather(*(_ask(connection, name) for name in names))
            for gone in set(shown) - set(names):
                for gauge in _GAUGES:
                    gauge.remove(gone)
            shown = names
            surveyed.set_to_current_time()
        await coalesced_sleep(SURVEY_SECONDS)


async def _ask(connection: Connection, name: str) -> None:
    try:
        info = await Stream(connection, name).info()
    except Refused as refusal:
        log.debug(
            "stream information could not be read; its gauges are left out",
            extra={"stream": name, "fault": str(refusal)},
        )
        leader.labels(name).set(0)
        return
    except BrokerError as fault:
        log.debug("stream does not answer; its gauges are left out", extra={"stream": name, "fault": str(fault)})
        leader.labels(name).set(0)
        return
    state, limit, cluster = info["state"], info["config"].get("max_bytes", -1), info.get("cluster") or {}
    messages.labels(name).set(state["messages"])
    size.labels(name).set(state["bytes"])
    fullness.labels(name).set(state["bytes"] / limit if limit > 0 else 0.0)
    sequence.labels(name).set(state["last_seq"])
    first = parse_time(state["first_ts"]).timestamp() if state["messages"] else None
    oldest.labels(name).set(max(0.0, time.time() - first) if first else 0.0)
    consumers.labels(name).set(state["consumer_count"])
    # Without a cluster nobody is elected, and who answers leads.
    leader.labels(name).set(1 if not cluster or cluster.get("leader") else 0)
    replicas = cluster.get("replicas") or []
    behind.labels(name).set(sum(1 for one in replicas if not one.get("current") or one.get("offline")))


class NatsFigures(Collector):
    """Shows what the figures are at the time when Prometheus asks."""

    def __init__(self, shown: Figures = figures) -> None:
        self._figures = shown

    def collect(self) -> Iterable[Metric]:
        shown, connections = self._figures, list(self._figures.connections)
        yield GaugeMetricFamily(
            "router_nats_connected",
            "Connections to NATS that are up",
            float(sum(1 for one in connections if one.connected)),
        )
        yield GaugeMetricFamily(
            "router_nats_connections", "Connections to NATS there should be", float(len(connections))
        )
        for name, about, value in (
            ("losses", "Times that a connection to NATS was lost", shown.losses),
            ("reconnects", "Times that a connection to NATS was regained", shown.reconnects),
            ("silences", "Times that a connection was believed up and heard nothing", shown.silences),
            ("slow_consumer", "Times that messages were dropped because they were not read in time", shown.slow),
            ("forbidden", "Times that NATS refused a subject for want of permission", shown.forbidden),
            ("unanswered_requests", "Requests that nobody answered in time", shown.unanswered),
        ):
            yield CounterMetricFamily(f"router_nats_{name}", about, float(value))
        for name, key, about in (
            ("received_messages", "in_msgs", "Messages that came from NATS"),
            ("received_bytes", "in_bytes", "Bytes of messages that came from NATS"),
            ("sent_messages", "out_msgs", "Messages that went to NATS"),
            ("sent_bytes", "out_bytes", "Bytes of messages that went to NATS"),
        ):
            total = sum(one.traffic.get(key, 0) for one in connections)
            yield CounterMetricFamily(f"router_nats_{name}", about, float(total))
        published = CounterMetricFamily(
            "router_published_events", "Events published, by what came of it", labels=["outcome"]
        )
        for outcome, count in shown.published.items():
            published.add_metric([outcome], float(count))
        yield published
        undecodable = CounterMetricFamily(
            "router_undecodable_values",
            "Stored values that could not be decoded and were passed over",
            labels=_BY_BUCKET,
        )
        for bucket in (topology.SESSIONS, topology.LEASES, topology.JOBS, topology.ENDPOINTS):
            undecodable.add_metric([bucket], float(shown.undecodable.get(bucket, 0)))
        yield undecodable
        yield _histogram("router_request_seconds", "Time NATS took to answer a request", shown.requests)
        yield _histogram("router_publish_seconds", "Time a publish took until JetStream had it", shown.publish)
        yield _histogram(
            "router_publish_to_store_seconds",
            "From an event's own time until JetStream had it",
            shown.publish_to_store,
        )


def _histogram(name: str, about: str, delays: Delays) -> HistogramMetricFamily:
    # Summed from one copy: a count that moves meanwhile would make buckets that do not add up.
    counts = list(accumulate(delays.counts))
    bounds = [*map(str, BOUNDS), "+Inf"]
    return HistogramMetricFamily(name, about, list(zip(bounds, map(float, counts), strict=True)), delays.sum)


REGISTRY.register(NatsFigures())
