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
                "Attempts, by outcome.",
                "ops",
                (rate("edge_webhook_attempts_total", "outcome"), "{{outcome}}"),
            ),
            line("Posts that succeed", "Share of all attempts.", "percentunit", (SUCCESSES, "delivered")),
            line(
                "Time a post takes",
                "From connecting to the end of the response.",
                "s",
                *quantiles("edge_webhook_seconds"),
            ),
            line(
                "From queue to delivery", "Including retries and parking.", "s", *quantiles("edge_webhook_age_seconds")
            ),
            line(
                "In flight",
                "Posts that are being sent.",
                "short",
                ("sum by (instance) (edge_webhook_in_flight)", "{{instance}}"),
            ),
            line(
                "Postponed posts",
                "Postponed because this process lacks something; posts that wait for a connection; posts repeated on a new connection.",
                "short",
                (rate("edge_webhook_postponed_total", "reason"), "{{reason}} per second"),
                ("sum(edge_webhook_waiting_for_connection)", "waiting"),
                (rate("edge_webhook_reconnects_total"), "sent again per second"),
            ),
            line(
                "Attempt log",
                "Attempts stored, and attempts dropped because there were too many.",
                "ops",
                (rate("edge_webhook_attempts_logged_total"), "stored"),
                (rate("edge_webhook_attempts_dropped_total"), "dropped"),
            ),
        ],
        "Queue": [
            line("Jobs", "By what happened to them.", "ops", (rate("edge_webhook_jobs_total", "event"), "{{event}}")),
            line(
                "Waiting jobs",
                "Fresh: not attempted yet. Due: retries whose time has come.",
                "short",
                ("sum by (kind) (edge_webhook_pending_jobs)", "{{kind}}"),
            ),
            line(
                "Parked jobs",
                "They wait for an endpoint that accepts none now, and do not delay other endpoints.",
                "short",
                ("sum(edge_webhook_parked_jobs)", "parked"),
            ),
            line("Oldest parked job", "Age.", "s", ("max(edge_webhook_parked_age_seconds)", "oldest")),
            line(
                "Webhook sessions that wait in EVENTS",
                "No jobs are added for them: their endpoint accepts none, or they hold their share of HOOKS.",
                "short",
                ("sum by (reason) (edge_webhook_waiting_sessions)", "{{reason}}"),
            ),
            line(
                "Webhook sessions by share of HOOKS",
                "How much of its quota each holds: less than half, more, all.",
                "short",
                ("sum by (share) (edge_webhook_holding_sessions)", "{{share}}"),
            ),
            line(
                "Furthest webhook backlog",
                "Events behind the newest, of the session that is furthest behind.",
                "short",
                ("max(edge_webhook_backlog_events)", "events"),
            ),
            line(
                "Endpoints by circuit breaker",
                "Open ones get only a probe now and then.",
                "short",
                ("sum by (state) (edge_webhook_endpoints)", "{{state}}"),
            ),
            line(
                "Retry lateness",
                "From the scheduled time until the retry began.",
                "s",
                *quantiles("edge_webhook_retry_lateness_seconds"),
            ),
            line(
                "Redelivered jobs",
                "Jobs that NATS delivered again although a worker had them: a process died, or its progress signal was late.",
                "ops",
                (rate("edge_webhook_redelivered_total"), "redelivered"),
            ),
            line(
                "Endpoints disabled",
                "They failed for days, or answered 410.",
                "ops",
                (rate("edge_webhook_disabled_total"), "disabled"),
            ),
        ],
        "Roles": [
            line(
                "Fan-out lag",
                "Events that have not been turned into jobs yet.",
                "short",
                ("max(edge_webhook_fanout_lag_events)", "events"),
            ),
            line(
                "Fan-out owners",
                "Exactly one process runs the fan-out.",
                "short",
                ("sum(edge_webhook_fanout_owner)", "owners"),
            ),
            line(
                "Lost to the fan-out",
                "Events that left retention before they were turned into jobs.",
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
                "Their endpoints get nothing; a second or two during a handover is normal.",
                "short",
                ("max(edge_webhook_partitions_unowned)", "partitions"),
            ),
            line(
                "Leases lost",
                "Partitions that went to another process, or were given up because NATS was away.",
                "ops",
                (rate("edge_webhook_leases_lost_total"), "lost"),
            ),
        ],
        "Dead letters": [
            line(
                "Stored",
                "By origin and reason.",
                "ops",
                (f"topk(10, {rate('edge_deadletters_total', 'origin, reason')})", "{{origin}} {{reason}}"),
            ),
            line("Kept", "In the stream.", "short", ("max(edge_deadletters_messages)", "dead letters")),
            line(
                "Share of capacity",
                "At 1 the oldest are dropped.",
                "percentunit",
                ("max(edge_deadletters_fullness_ratio)", "full"),
            ),
            line("Bytes kept", "In the stream.", "bytes", ("max(edge_deadletters_bytes)", "bytes")),
            line(
                "Sent again", "By redrives.", "ops", (rate("edge_redriven_deadletters_total", "outcome"), "{{outcome}}")
            ),
            line("Redrives", "Ended, by state.", "ops", (rate("edge_redrives_total", "state"), "{{state}}")),
            line(
                "Followers",
                "Exactly one process announces dead letters and runs redrives.",
                "short",
                ("sum(edge_deadletters_owner)", "owners"),
            ),
        ],
    },
)
