"""Counts entities and what is published of them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

KNOWN = Gauge("actors_metric_entities", "Entities with metrics in memory")
STATES = Counter("actors_metric_states_total", "Snapshots and changes of entities that were published", ("kind",))
