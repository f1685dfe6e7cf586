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
                "Lagging ones have spilled and read from the store; replaying ones catch up.",
                "short",
                ("sum by (state) (edge_reader_states)", "{{state}}"),
            ),
            line(
                "Readers that began",
                "Recovered: went on at their cursor. Gap: their cursor is no longer good. Fresh: brought none.",
                "ops",
                (rate("edge_recoveries_total", "outcome"), "{{outcome}}"),
            ),
            line(
                "Connections that ended",
                "By why the server ended them.",
                "ops",
                (rate("edge_disconnects_total", "reason"), "{{reason}}"),
            ),
            line(
                "Sessions expired",
                "Deleted because nobody read them.",
                "ops",
                (rate("edge_sessions_expired_total"), "expired"),
            ),
            line(
                "Ready",
                "What readiness hangs on, in the worst edge.",
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
                "Events heard",
                "From the store, by each edge.",
                "ops",
                (rate("edge_heard_events_total", "instance"), "{{instance}}"),
            ),
            line(
                "Delay until heard",
                "From an event's own time until an edge heard it.",
                "s",
                *quantiles("edge_publish_to_hear_seconds"),
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
                "Events that slow readers are owed; past 1,000 each they spill.",
                "short",
                ("sum(edge_mailbox_events)", "events"),
            ),
            line(
                "Waiting in mailboxes, bytes",
                "Shared by readers of the same, so memory is less.",
                "bytes",
                ("sum(edge_mailbox_bytes)", "bytes"),
            ),
            line(
                "Furthest behind",
                "The reader that is furthest from what was heard, in sequences.",
                "short",
                (most("edge_lag_events", "instance"), "{{instance}}"),
            ),
            line(
                "Furthest behind, age",
                "Age of the oldest event that a reader is still owed.",
                "s",
                (most("edge_lag_seconds", "instance"), "{{instance}}"),
            ),
            line(
                "Spills, gaps, repairs",
                "Spill: a full mailbox. Gap: events lost to a reader by retention. Repair: events possibly missed, read again.",
                "ops",
                (rate("edge_spills_total"), "spills"),
                (rate("edge_gaps_total", "reason"), "gap {{reason}}"),
                (rate("edge_suspicions_total"), "repairs"),
            ),
            line(
                "Left out",
                "Events that a newer one stands for, because a reader asked so.",
                "ops",
                (rate("edge_dropped_events_total", "reason"), "{{reason}}"),
            ),
            line(
                "Replayed events",
                "Read again for who came later or was slow.",
                "ops",
                (rate("edge_replayed_events_total", "transport"), "{{transport}}"),
            ),
            line(
                "Pages read from the store",
                "Readers share them; a crowd that comes back costs few.",
                "ops",
                (rate("edge_replay_reads_total"), "pages"),
            ),
            line(
                "How old replayed events are, p99",
                "How far behind those readers were who read again.",
                "s",
                (quantile(0.99, "edge_publish_to_replay_seconds", "transport"), "{{transport}}"),
            ),
        ],
        "Requests": [
            line(
                "Requests by status",
                "1xx is a WebSocket that was accepted.",
                "reqps",
                (rate("edge_requests_total", "status"), "{{status}}"),
            ),
            line(
                "Until the answer began, p99",
                "The ten slowest routes.",
                "s",
                (f"topk(10, {quantile(0.99, 'edge_request_seconds', 'route')})", "{{route}}"),
            ),
            line(
                "Refusals",
                "By the code of the problem.",
                "ops",
                (f"topk(10, {rate('edge_refusals_total', 'code')})", "{{code}}"),
            ),
            line(
                "Events over HTTP",
                "By what came of them.",
                "ops",
                (rate("edge_ingested_events_total", "outcome"), "{{outcome}}"),
            ),
        ],
        "Pictures": [
            line(
                "Viewers",
                "Open connections that watch pictures.",
                "short",
                ("sum by (transport) (edge_viewers)", "{{transport}}"),
            ),
            line("Pictures written", "To viewers.", "ops", (rate("edge_frames_total", "transport"), "{{transport}}")),
            line(
                "Pictures passed over",
                "A viewer was too slow for them; it saw a newer one.",
                "ops",
                (rate("edge_frames_dropped_total", "transport"), "{{transport}}"),
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
                "How late an edge comes to its work.",
                "s",
                (quantile(0.99, 'ops_loop_lag_seconds{job="callboard-edge"}', "instance"), "{{instance}}"),
            ),
        ],
    },
)
