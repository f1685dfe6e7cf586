"""The dashboard that shows at a glance whether the system is healthy."""

from __future__ import annotations

from ops.dashboards.panel import Board, line, most, quantile, quantiles, rate, stat
from ops.dashboards.shared import CPU, DELIVERIES, DESCRIPTORS, HOPS, LOOP, MEMORY, PUBLISHED, READERS

OVERVIEW = Board(
    "callboard-overview",
    "Callboard / Overview",
    {
        "Now": [
            stat("Processes up", "Targets that Prometheus could scrape.", "short", 'sum(up{job=~"callboard-.*"})'),
            stat("Ready", "1 while all readiness checks of all edges pass.", "short", "min(edge_ready)"),
            stat(
                "Alerts firing",
                "Of the rules under ops/prometheus.",
                "short",
                'count(ALERTS{alertstate="firing"}) or vector(0)',
            ),
            stat(
                "Delay, p99",
                "From an event's timestamp until it was written, live.",
                "s",
                quantile(0.99, "edge_publish_to_write_seconds"),
            ),
            stat("Readers", "Open connections that read sessions.", "short", "sum(edge_readers)"),
            stat(
                "Dead letters kept",
                "Deliveries that were given up, in the dead letter stream.",
                "short",
                "max(edge_deadletters_messages)",
            ),
        ],
        "Flow": [
            PUBLISHED,
            DELIVERIES,
            HOPS,
            line(
                "Delay until written",
                "From an event's timestamp until it was written to a live reader.",
                "s",
                *quantiles("edge_publish_to_write_seconds"),
            ),
            READERS,
            line(
                "Sessions",
                "By how they are delivered; every edge knows all of them.",
                "short",
                (most("edge_sessions", "method"), "{{method}}"),
            ),
        ],
        "Trouble": [
            line(
                "Answers by status",
                "Requests to all edges.",
                "reqps",
                (rate("edge_requests_total", "status"), "{{status}}"),
            ),
            line(
                "Dead letters",
                "Deliveries given up, by reason.",
                "ops",
                (f"topk(10, {rate('edge_deadletters_total', 'reason')})", "{{reason}}"),
            ),
            line(
                "Streams, share of capacity",
                "At 1 the oldest is dropped, or (webhook jobs) the newest refused.",
                "percentunit",
                (most("router_stream_fullness_ratio", "stream"), "{{stream}}"),
            ),
        ],
        "Processes": [
            CPU,
            MEMORY,
            LOOP,
            DESCRIPTORS,
            line(
                "Versions",
                "How many processes run which version.",
                "short",
                ("count by (version) (ops_build_info)", "{{version}}"),
            ),
        ],
    },
)
