"""The dashboard of webhooks and dead letters."""

from __future__ import annotations

from ops.dashboards.panel import Board, line, quantiles, rate
from ops.dashboards.shared import SUCCESSES

DELIVERY = Board(
    "callboard-delivery",
    "Callboard / Webhooks and dead letters",
    {
        "Posts": [
            line(
                "Posts by outcome",
                "Each attempt, by what it came to.",
                "ops",
                (rate("edge_webhook_attempts_total", "outcome"), "{{outcome}}"),
            ),
            line("Posts that succeed", "Share of all attempts.", "percentunit", (SUCCESSES, "delivered")),
            line(
                "Time a post takes",
                "From connecting to the end of the answer.",
                "s",
                *quantiles("edge_webhook_seconds"),
            ),
            line(
                "From queue to delivery", "Retries and parking included.", "s", *quantiles("edge_webhook_age_seconds")
            ),
            line(
                "Under way", "Posts in hand.", "short", ("sum by (instance) (edge_webhook_in_flight)", "{{instance}}")
            ),
            line(
                "Postponed posts",
                "Put off for want of something here; posts that wait for a connection, and those sent again on a new one.",
                "short",
                (rate("edge_webhook_postponed_total", "reason"), "{{reason}} per second"),
                ("sum(edge_webhook_waiting_for_connection)", "waiting"),
                (rate("edge_webhook_reconnects_total"), "sent again per second"),
            ),
            line(
                "Attempt log",
                "Attempts stored, and those that were too many to store.",
                "ops",
                (rate("edge_webhook_attempts_logged_total"), "stored"),
                (rate("edge_webhook_attempts_dropped_total"), "left out"),
            ),
        ],
        "Queue": [
            line("Jobs", "What happened to them.", "ops", (rate("edge_webhook_jobs_total", "event"), "{{event}}")),
            line(
                "Waiting jobs",
                "Fresh: not tried yet. Due: retries whose time has come.",
                "short",
                ("sum by (kind) (edge_webhook_pending_jobs)", "{{kind}}"),
            ),
            line(
                "Parked jobs",
                "They wait for an endpoint that cannot take them, and cost the others nothing.",
                "short",
                ("sum(edge_webhook_parked_jobs)", "parked"),
            ),
            line("Oldest parked job", "Age.", "s", ("max(edge_webhook_parked_age_seconds)", "oldest")),
            line(
                "Webhook sessions that wait in EVENTS",
                "They get no more jobs for now: their endpoint takes none, or they hold their share of HOOKS.",
                "short",
                ("sum by (reason) (edge_webhook_waiting_sessions)", "{{reason}}"),
            ),
            line(
                "Webhook sessions by what they hold",
                "Of what each may hold in HOOKS: less than half, more, all.",
                "short",
                ("sum by (share) (edge_webhook_holding_sessions)", "{{share}}"),
            ),
            line(
                "Furthest webhook backlog",
                "Events behind the newest, of the session that waits furthest behind.",
                "short",
                ("max(edge_webhook_backlog_events)", "events"),
            ),
            line(
                "Endpoints by breaker",
                "Open ones get nothing but a probe now and then.",
                "short",
                ("sum by (state) (edge_webhook_endpoints)", "{{state}}"),
            ),
            line(
                "How late retries are",
                "From the time scheduled.",
                "s",
                *quantiles("edge_webhook_retry_lateness_seconds"),
            ),
            line(
                "Handed out again",
                "By NATS, though known here: a process died, or was too slow to say that it lives.",
                "ops",
                (rate("edge_webhook_redelivered_total"), "again"),
            ),
            line(
                "Endpoints disabled",
                "They failed for days, or said 410.",
                "ops",
                (rate("edge_webhook_disabled_total"), "disabled"),
            ),
        ],
        "Roles": [
            line(
                "Fan-out behind",
                "Events that are not jobs yet.",
                "short",
                ("max(edge_webhook_fanout_lag_events)", "events"),
            ),
            line(
                "Fan-out owners", "Exactly one process fans out.", "short", ("sum(edge_webhook_fanout_owner)", "owners")
            ),
            line(
                "Lost to the fan-out",
                "Events that ran out of retention before they were jobs.",
                "ops",
                (rate("edge_webhook_fanout_lost_events_total"), "lost"),
            ),
            line(
                "Partitions",
                "By the process that owns them.",
                "short",
                ("sum by (instance) (edge_webhook_partitions)", "{{instance}}"),
            ),
            line(
                "Partitions without an owner",
                "Their endpoints get nothing meanwhile; for a second or two of a hand-over this is normal.",
                "short",
                ("max(edge_webhook_partitions_unowned)", "partitions"),
            ),
            line(
                "Leases lost",
                "Partitions that went to another process, or were given up for want of NATS.",
                "ops",
                (rate("edge_webhook_leases_lost_total"), "lost"),
            ),
        ],
        "Dead letters": [
            line(
                "Made",
                "By origin and why.",
                "ops",
                (f"topk(10, {rate('edge_deadletters_total', 'origin, reason')})", "{{origin}} {{reason}}"),
            ),
            line("Kept", "In the stream.", "short", ("max(edge_deadletters_messages)", "letters")),
            line(
                "Share of their room",
                "At 1 the oldest are dropped.",
                "percentunit",
                ("max(edge_deadletters_fullness_ratio)", "full"),
            ),
            line("Bytes kept", "In the stream.", "bytes", ("max(edge_deadletters_bytes)", "bytes")),
            line(
                "Sent again", "By redrives.", "ops", (rate("edge_redriven_deadletters_total", "outcome"), "{{outcome}}")
            ),
            line("Redrives", "That are over, by how.", "ops", (rate("edge_redrives_total", "state"), "{{state}}")),
            line(
                "Followers",
                "Exactly one process tells of dead letters and works redrives.",
                "short",
                ("sum(edge_deadletters_owner)", "owners"),
            ),
        ],
    },
)
