"""Reads the edge's gauges off its readers and sessions at each scrape of Prometheus.

Counters move with each event (edge/metrics.py); what is collected here costs deliveries nothing and cannot drift from the
actual state.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge import disconnect, metrics
from edge.disconnect import Disconnect
from edge.hub import lag
from edge.hub.hub import Hub
from edge.metrics import TRANSPORTS
from edge.sessions.registry import Registry
from edge.types import State
from router.position import Position
from router.store_health import StoreHealth
from router.store_trouble import CODES
from router.topology import TopologySettings, streams

METHODS = ("websocket", "sse", "polling", "webhook")
OPEN = (State.CONNECTING, State.REPLAYING, State.LIVE, State.LAGGING)
STREAMS = tuple(stream.name for stream in streams(TopologySettings()))
CHECKS = ("not_draining", "nats", "subscriptions", "events", "sessions", "store")

# The reasons to end a connection are a closed set, exported as zeros until one occurs.
for _transport in ("websocket", "sse"):
    for _reason in vars(disconnect).values():
        if isinstance(_reason, Disconnect):
            metrics.disconnects.labels(_transport, _reason.reason)


class Watched:
    """The parts of one edge whose state is exported."""

    def __init__(
        self, hub: Hub, registry: Registry, store: StoreHealth, ready: Callable[[], Mapping[str, bool]]
    ) -> None:
        self.hub = hub
        self.registry = registry
        self.store = store
        self.ready = ready


class Snapshot:
    """The state of all edges of this process at one scrape, added up."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, ...], int] = {(way, state.value): 0 for way in TRANSPORTS for state in OPEN}
        self.methods = dict.fromkeys(METHODS, 0)
        self.mailbox_events = 0
        self.mailbox_bytes = 0
        self.lag_events = 0
        self.lag_seconds = 0.0
        self.position = 0
        self.checks: Counter[str] = Counter()
        self.store: Counter[str] = Counter()
        self.recreated: Counter[str] = Counter()

    def add(self, edge: Watched) -> None:
        """Adds one edge. Collections are copied in one step: a scrape runs in a thread beside the event loop."""
        self._add_readers(edge.hub)
        for session in tuple(edge.registry.sessions.values()):
            if session.spec.delivery_method in self.methods:
                self.methods[session.spec.delivery_method] += 1
        self.position = max(self.position, sum(edge.hub.position.sequences))
        self.checks.update(name for name, passed in edge.ready().items() if passed)
        self.store[edge.store.code] += 1
        self.recreated.update(edge.store.recreated)

    def _add_readers(self, hub: Hub) -> None:
        furthest: Position | None = None
        # Those in write groups are live, and nothing of theirs waits.
        apart, live = tuple(hub.apart), hub.counts.copy()
        for reader in apart:
            live[reader.transport_name] -= 1
            if (key := (reader.transport_name, reader.state.value)) in self.states:
                self.states[key] += 1
            events, size = reader.queued
            self.mailbox_events += events
            self.mailbox_bytes += size
            if (sequences := lag.behind(hub, reader)) and sequences >= self.lag_events:
                self.lag_events, furthest = sequences, reader.position
        for transport, count in live.items():
            if (key := (transport, State.LIVE.value)) in self.states:
                self.states[key] += max(0, count)
        if furthest is not None:
            self.lag_seconds = max(self.lag_seconds, lag.age_behind(hub, furthest))

    def families(self) -> Iterable[Metric]:
        """The snapshot as metric families."""
        yield _labelled(
            "edge_reader_states",
            "Open connections that read sessions, by state",
            ("transport", "state"),
            self.states.items(),
        )
        methods = [((name,), count) for name, count in self.methods.items()]
        yield _labelled("edge_sessions", "Sessions known to this process: the same in each", ("method",), methods)
        checks = [((name,), self.checks[name]) for name in CHECKS]
        yield _labelled("edge_ready", "1 for each readiness check that passes", ("check",), checks)
        codes = [((code,), self.store[code]) for code in CODES]
        yield _labelled(
            "edge_store_state", "1 for the store's current state: ok, or why it accepts no writes", ("code",), codes
        )
        recreated = CounterMetricFamily(
            "edge_store_recreated_streams", "Streams that were missing and were created again", labels=["stream"]
        )
        for name in dict.fromkeys((*STREAMS, *self.recreated)):
            recreated.add_metric([name], float(self.recreated[name]))
        yield recreated
        for name, about, value in (
            ("edge_mailbox_events", "Events that wait in the mailboxes of readers", self.mailbox_events),
            ("edge_mailbox_bytes", "Bytes of events that wait in the mailboxes of readers", self.mailbox_bytes),
            ("edge_lag_events", "Lag of the slowest reader behind the newest event received", self.lag_events),
            ("edge_lag_seconds", "Age of the oldest event that a reader has not been sent yet", self.lag_seconds),
            (
                "edge_position_sequence",
                "Sequence of the newest event received; of several shards their sum",
                self.position,
            ),
        ):
            yield GaugeMetricFamily(name, about, float(value))


class EdgeCollector(Collector):
    """Collects the gauges of the edges of this process; in production that is one."""

    def __init__(self) -> None:
        self._edges: weakref.WeakSet[Watched] = weakref.WeakSet()

    def watch(
        self, hub: Hub, registry: Registry, store: StoreHealth, ready: Callable[[], Mapping[str, bool]]
    ) -> Watched:
        """Exports the parts of an edge for as long as the caller keeps the result; `ready` returns CHECKS."""
        watched = Watched(hub, registry, store, ready)
        self._edges.add(watched)
        return watched

    def collect(self) -> Iterable[Metric]:
        snapshot = Snapshot()
        for edge in list(self._edges):
            snapshot.add(edge)
        return snapshot.families()


def _labelled(name: str, about: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family


collector = EdgeCollector()
REGISTRY.register(collector)
