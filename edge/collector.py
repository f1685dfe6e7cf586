"""This file is where it is looked up how things stand, at the time when Prometheus asks and at no other.

What is counted elsewhere moves with each event; what is here is read off the readers and sessions as they are, so that it
costs deliveries nothing and cannot drift from the truth.
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
from edge.hub.hub import Hub
from edge.metrics import TRANSPORTS
from edge.sessions.registry import Registry
from edge.types import State
from router.store_health import CODES, StoreHealth
from router.topology import TopologySettings, streams

METHODS = ("websocket", "sse", "polling", "webhook")
OPEN = (State.CONNECTING, State.REPLAYING, State.LIVE, State.LAGGING)
STREAMS = tuple(stream.name for stream in streams(TopologySettings()))
CHECKS = ("not_draining", "nats", "subscriptions", "events", "sessions", "store")

# The reasons to end a connection are a closed set, shown as zeros until one occurs.
for _transport in ("websocket", "sse"):
    for _reason in vars(disconnect).values():
        if isinstance(_reason, Disconnect):
            metrics.disconnects.labels(_transport, _reason.reason)


class Watched:
    """The parts of an edge whose state is shown."""

    def __init__(
        self, hub: Hub, registry: Registry, store: StoreHealth, ready: Callable[[], Mapping[str, bool]]
    ) -> None:
        self.hub = hub
        self.registry = registry
        self.store = store
        self.ready = ready


class EdgeCollector(Collector):
    """The gauges of the edges of this process; in production that is one."""

    def __init__(self) -> None:
        self._edges: weakref.WeakSet[Watched] = weakref.WeakSet()

    def watch(
        self, hub: Hub, registry: Registry, store: StoreHealth, ready: Callable[[], Mapping[str, bool]]
    ) -> Watched:
        """Shows the parts of an edge for as long as somebody keeps what is returned; `ready` gives CHECKS."""
        watched = Watched(hub, registry, store, ready)
        self._edges.add(watched)
        return watched

    def collect(self) -> Iterable[Metric]:
        # Copied in one step each: this runs beside the event loop, in a thread.
        edges = list(self._edges)
        states: dict[tuple[str, ...], int] = {(way, state.value): 0 for way in TRANSPORTS for state in OPEN}
        methods = dict.fromkeys(METHODS, 0)
        owed_events = owed_bytes = behind = 0
        age = 0.0
        checks: Counter[str] = Counter()
        store: Counter[str] = Counter()
        recreated: Counter[str] = Counter()
        for edge in edges:
            last: int | None = None
            for reader in tuple(edge.hub.readers):
                if (key := (reader.transport_name, reader.state.value)) in states:
                    states[key] += 1
                events, size = reader.owed
                owed_events += events
                owed_bytes += size
                if lag := edge.hub.behind(reader):
                    behind = max(behind, lag)
                    last = reader.position if last is None else min(last, reader.position)
            if last is not None:
                age = max(age, edge.hub.age_behind(last))
            for session in tuple(edge.registry.sessions.values()):
                if session.spec.delivery_method in methods:
                    methods[session.spec.delivery_method] += 1
            checks.update(name for name, well in edge.ready().items() if well)
            store[edge.store.code] += 1
            recreated.update(edge.store.recreated)
        yield _labelled(
            "edge_reader_states",
            "Open connections that read sessions, by what they are at",
            ("transport", "state"),
            states,
        )
        yield _labelled(
            "edge_sessions", "Sessions known to this process: the same in each", ("method",),
            {(name,): count for name, count in methods.items()},
        )  # fmt: skip
        yield _labelled(
            "edge_ready", "1 for each thing that readiness hangs on and that is well", ("check",),
            {(name,): checks[name] for name in CHECKS},
        )  # fmt: skip
        yield _labelled(
            "edge_store_state", "1 for the code that says whether the store takes writes now: ok, or why not", ("code",),
            {(code,): store[code] for code in CODES},
        )  # fmt: skip
        made = CounterMetricFamily(
            "edge_store_recreated_streams", "Streams that were missing and were made again", labels=["stream"]
        )
        for name in STREAMS:
            made.add_metric([name], float(recreated[name]))
        yield made
        for name, about, value in (
            ("edge_mailbox_events", "Events that wait in the mailboxes of readers", owed_events),
            ("edge_mailbox_bytes", "Bytes of them", owed_bytes),
            (
                "edge_lag_events",
                "How far the reader that is furthest behind is from what was heard, in sequences",
                behind,
            ),
            ("edge_lag_seconds", "Age of the oldest event that a reader is still owed", age),
            (
                "edge_position_sequence",
                "Sequence of the newest event heard",
                max((e.hub.position for e in edges), default=0),
            ),
        ):
            yield GaugeMetricFamily(name, about, float(value))


def _labelled(name: str, about: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], int]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


collector = EdgeCollector()
REGISTRY.register(collector)
