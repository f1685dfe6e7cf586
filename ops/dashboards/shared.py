"""The panels that more than one dashboard shows."""

from __future__ import annotations

from ops.dashboards.panel import line, quantile, rate

HOPS = line(
    "Delay by hop, p99",
    "From an event's timestamp until each hop. Written covers live delivery; acknowledged is a webhook's 2xx or the next poll.",
    "s",
    (quantile(0.99, "router_publish_to_store_seconds"), "stored"),
    (quantile(0.99, "edge_publish_to_receive_seconds"), "received"),
    (quantile(0.99, "edge_publish_to_write_seconds"), "written"),
    (quantile(0.99, "edge_publish_to_acknowledge_seconds"), "acknowledged"),
    (quantile(0.99, "actors_publish_to_acknowledge_seconds"), "done by actors"),
)
READERS = line(
    "Readers by transport",
    "Open connections that read sessions.",
    "short",
    ("sum by (transport) (edge_readers)", "{{transport}}"),
    stack=True,
)
DELIVERIES = line(
    "Deliveries",
    "Events written to readers, replays included.",
    "ops",
    (rate("edge_delivered_events_total", "transport"), "{{transport}}"),
    stack=True,
)
PUBLISHED = line(
    "Events published",
    "By all processes that publish through the router, by outcome.",
    "ops",
    (rate("router_published_events_total", "outcome"), "{{outcome}}"),
)
LOOP = line(
    "Event loop lag, p99",
    "How late each process runs its callbacks. Above 50 ms everything it does is delayed.",
    "s",
    (quantile(0.99, "ops_loop_lag_seconds", "job, instance"), "{{job}} {{instance}}"),
)
CPU = line(
    "CPU",
    "Cores in use, by process.",
    "none",
    (rate("process_cpu_seconds_total", "job, instance"), "{{job}} {{instance}}"),
)
MEMORY = line(
    "Memory",
    "Resident memory, by process.",
    "bytes",
    ("sum by (job, instance) (process_resident_memory_bytes)", "{{job}} {{instance}}"),
)
DESCRIPTORS = line(
    "File descriptors in use",
    "Share of the limit; at 1 no connection is accepted any more.",
    "percentunit",
    ("max by (job, instance) (process_open_fds / process_max_fds)", "{{job}} {{instance}}"),
)

SUCCESSES = f"""{rate('edge_webhook_attempts_total{outcome="delivered"}')} / {rate("edge_webhook_attempts_total")}"""
