"""The dashboard of readers, delays, refusals and sessions of the edge."""

from __future__ import annotations

from ops.dashboards.panel import Board, line, most, quantile, quantiles, rate
from ops.dashboards.shared import DELIVERIES, READERS

EDGE = Board(
    "callboard-edge",
    "Callboard / Edge and sessions",
    {
        "Readers": [
            READERS,
            line(
                "Readers by state",
                "Lagging readers overflowed their mailbox and read from the store; replaying ones catch up.",
                "short",
                ("sum by (state) (edge_reader_states)", "{{state}}"),
            ),
            line(
                "Readers that connected",
                "Recovered: resumed at their cursor. Gap: their cursor is no longer valid. Fresh: sent no cursor.",
                "ops",
                (rate("edge_recoveries_total", "outcome"), "{{outcome}}"),
            ),
            line(
                "Connections that ended",
                "By reason.",
                "ops",
                (rate("edge_disconnects_total", "reason"), "{{reason}}"),
            ),
            line(
                "Sessions expired",
                "Deleted because their idle time ran out.",
                "ops",
                (rate("edge_sessions_expired_total"), "expired"),
            ),
            line(
                "Ready",
                "Readiness checks, in the edge that fails most.",
                "short",
                ("min by (check) (edge_ready)", "{{check}}"),
            ),
        ],
        "Delivery": [
            DELIVERIES,
            line(
                "Bytes written",
                "Of events, to readers.",
                "Bps",
                (rate("edge_written_bytes_total", "transport"), "{{transport}}"),
            ),
            line(
                "Events received",
                "Live from the store, by each edge.",
                "ops",
                (rate("edge_received_events_total", "instance"), "{{instance}}"),
            ),
            line(
                "Delay until received",
                "From an event's timestamp until an edge received it.",
                "s",
                *quantiles("edge_publish_to_receive_seconds"),
            ),
            line(
                "Delay until written, p99",
                "Live delivery.",
                "s",
                (quantile(0.99, "edge_publish_to_write_seconds", "transport"), "{{transport}}"),
            ),
            line(
                "Delay until acknowledged, p99",
                "A webhook's 2xx, or the next poll.",
                "s",
                (quantile(0.99, "edge_publish_to_acknowledge_seconds", "transport"), "{{transport}}"),
            ),
        ],
        "Slow and late": [
            line(
                "Waiting in mailboxes",
                "Events not yet written to slow readers; above 1,000 a reader spills: it reads from the store.",
                "short",
                ("sum(edge_mailbox_events)", "events"),
            ),
            line(
                "Waiting in mailboxes, bytes",
                "Readers share batches, so they take less memory than this.",
                "bytes",
                ("sum(edge_mailbox_bytes)", "bytes"),
            ),
            line(
                "Furthest behind",
                "Lag of the slowest reader behind the newest event received, in sequences.",
                "short",
                (most("edge_lag_events", "instance"), "{{instance}}"),
            ),
            line(
                "Furthest behind, age",
                "Age of the oldest event that a reader has not been sent yet.",
                "s",
                (most("edge_lag_seconds", "instance"), "{{instance}}"),
            ),
            line(
                "Spills, gaps, possible losses",
                "Spill: full mailbox. Gap: events left retention before a reader got them. Possible loss: events read again.",
                "ops",
                (rate("edge_spills_total"), "spills"),
                (rate("edge_gaps_total", "reason"), "gap {{reason}}"),
                (rate("edge_possible_losses_total"), "possible losses"),
            ),
            line(
                "Conflated events",
                "Events replaced by newer ones of the same subject, for readers that asked for conflation.",
                "ops",
                (rate("edge_dropped_events_total", "reason"), "{{reason}}"),
            ),
            line(
                "Replayed events",
                "Read from the store for readers that resumed or lagged.",
                "ops",
                (rate("edge_replayed_events_total", "transport"), "{{transport}}"),
            ),
            line(
                "Pages read from the store",
                "Readers share pages, so a mass reconnect needs few.",
                "ops",
                (rate("edge_replay_reads_total"), "pages"),
            ),
            line(
                "Age of replayed events, p99",
                "How far behind the replaying readers were.",
                "s",
                (quantile(0.99, "edge_publish_to_replay_seconds", "transport"), "{{transport}}"),
            ),
        ],
        "Requests": [
            line(
                "Requests by status",
                "1xx is an accepted WebSocket.",
                "reqps",
                (rate("edge_requests_total", "status"), "{{status}}"),
            ),
            line(
                "Time to response, p99",
                "The ten slowest routes.",
                "s",
                (f"topk(10, {quantile(0.99, 'edge_request_seconds', 'route')})", "{{route}}"),
            ),
            line(
                "Refusals",
                "By problem code.",
                "ops",
                (f"topk(10, {rate('edge_refusals_total', 'code')})", "{{code}}"),
            ),
            line(
                "Events published over HTTP",
                "By outcome.",
                "ops",
                (rate("edge_ingested_events_total", "outcome"), "{{outcome}}"),
            ),
        ],
        "Video": [
            line(
                "Viewers",
                "Open video connections.",
                "short",
                ("sum by (transport) (edge_viewers)", "{{transport}}"),
            ),
            line("Frames written", "To viewers.", "ops", (rate("edge_frames_total", "transport"), "{{transport}}")),
            line(
                "Frames dropped",
                "A viewer was too slow and got a newer frame instead.",
                "ops",
                (rate("edge_frames_dropped_total", "transport"), "{{transport}}"),
            ),
            line(
                "Frames not shown, by reason",
                "slow: a newer one came first. behind: skipped to the next key. gap: one that it builds on was lost. "
                "old: a newer one was shown. rate: the viewer asked for fewer.",
                "ops",
                (rate("edge_frames_dropped_by_reason_total", "reason"), "{{reason}}"),
            ),
            line(
                "Age of frames at the viewer (p99)",
                "From the capture until the viewer painted or acknowledged it, or its socket had taken it.",
                "s",
                (quantile(0.99, "edge_frames_age_seconds", "transport"), "{{transport}}"),
            ),
            line(
                "Bytes of frames", "To viewers.", "Bps", (rate("edge_frames_bytes_total", "transport"), "{{transport}}")
            ),
        ],
        "Processes": [
            line(
                "CPU",
                "Cores in use, by edge.",
                "none",
                (rate('process_cpu_seconds_total{job="callboard-edge"}', "instance"), "{{instance}}"),
            ),
            line(
                "Memory",
                "Resident, by edge.",
                "bytes",
                ('sum by (instance) (process_resident_memory_bytes{job="callboard-edge"})', "{{instance}}"),
            ),
            line(
                "Event loop lag, p99",
                "How late an edge's event loop runs its callbacks.",
                "s",
                (quantile(0.99, 'ops_loop_lag_seconds{job="callboard-edge"}', "instance"), "{{instance}}"),
            ),
        ],
    },
)
