"""The dashboard of nats-server and its streams."""

from __future__ import annotations

from ops.dashboards.panel import Board, line, most, quantiles, rate
from ops.dashboards.shared import PUBLISHED

JETSTREAM = Board(
    "callboard-jetstream",
    "Callboard / JetStream",
    {
        "Streams": [
            line(
                "Messages",
                "In each stream and bucket.",
                "short",
                (most("router_stream_messages", "stream"), "{{stream}}"),
            ),
            line("Bytes", "In each stream and bucket.", "bytes", (most("router_stream_bytes", "stream"), "{{stream}}")),
            line(
                "Share of capacity",
                "0 without a limit.",
                "percentunit",
                (most("router_stream_fullness_ratio", "stream"), "{{stream}}"),
            ),
            line(
                "Oldest message",
                "Its age: how far back readers can go.",
                "s",
                (most("router_stream_oldest_age_seconds", "stream"), "{{stream}}"),
            ),
            line(
                "Newest sequence of EVENTS",
                "Of each stream of events, and the newest that edges have received: of several shards the sum of those in use.",
                "none",
                ('max by (stream) (router_stream_last_sequence{stream=~"EVENTS.*"})', "stored in {{stream}}"),
                ("max(edge_position_sequence)", "received"),
            ),
            line("Consumers", "Of each stream.", "short", (most("router_stream_consumers", "stream"), "{{stream}}")),
            line(
                "Leaders",
                "1 while the stream has a leader.",
                "short",
                ("min by (stream) (router_stream_leader)", "{{stream}}"),
            ),
            line(
                "Replicas behind",
                "Not current, or offline.",
                "short",
                (most("router_stream_replicas_behind", "stream"), "{{stream}}"),
            ),
            line(
                "Last survey of the streams",
                "Seconds ago.",
                "s",
                ("time() - max(router_streams_surveyed_timestamp_seconds)", "ago"),
            ),
        ],
        "Publishing": [
            PUBLISHED,
            line(
                "Delay until stored",
                "From publishing to the acknowledgement, including retries.",
                "s",
                *quantiles("router_publish_seconds"),
            ),
            line("Requests", "Time NATS took to answer.", "s", *quantiles("router_request_seconds")),
        ],
        "Connections": [
            line(
                "Connections up",
                "Against those expected.",
                "short",
                ("sum(router_nats_connected)", "up"),
                ("sum(router_nats_connections)", "expected"),
            ),
            line(
                "Connection faults",
                "Silences: seemed up, received nothing. Slow: messages dropped by the client. Forbidden: a permission is missing.",
                "ops",
                *(
                    (rate(f"router_nats_{name}_total"), name.replace("_", " "))
                    for name in (
                        "losses",
                        "reconnects",
                        "silences",
                        "slow_consumer",
                        "forbidden",
                        "unanswered_requests",
                    )
                ),
            ),
            line(
                "Messages",
                "From and to NATS.",
                "ops",
                (rate("router_nats_received_messages_total"), "from"),
                (rate("router_nats_sent_messages_total"), "to"),
            ),
            line(
                "Bytes",
                "From and to NATS.",
                "Bps",
                (rate("router_nats_received_bytes_total"), "from"),
                (rate("router_nats_sent_bytes_total"), "to"),
            ),
        ],
    },
)
