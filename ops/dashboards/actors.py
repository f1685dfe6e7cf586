"""The dashboard of the actors."""

from __future__ import annotations

from ops.dashboards.panel import Board, line, quantile, quantiles, rate

ACTORS = Board(
    "callboard-actors",
    "Callboard / Actors",
    {
        "Events": [
            line(
                "Receives",
                "By what became of the event.",
                "ops",
                (rate("actors_receive_seconds_count", "actor, outcome"), "{{actor}} {{outcome}}"),
            ),
            line(
                "Time a receive takes, p99",
                "By actor.",
                "s",
                (quantile(0.99, "actors_receive_seconds", "actor"), "{{actor}}"),
            ),
            line(
                "Delay until received, p99",
                "From an event's own time.",
                "s",
                (quantile(0.99, "actors_publish_to_receive_seconds", "actor"), "{{actor}}"),
            ),
            line(
                "Delay until done, p99",
                "From an event's own time until JetStream was told.",
                "s",
                (quantile(0.99, "actors_publish_to_acknowledge_seconds", "actor"), "{{actor}}"),
            ),
            line(
                "Behind",
                "Events of its subjects that an actor has not settled.",
                "short",
                ("max by (actor) (actors_lag_events)", "{{actor}}"),
            ),
            line("Oldest event in hand", "Age.", "s", ("max by (actor) (actors_lag_seconds)", "{{actor}}")),
            line("Mailbox", "Messages that wait.", "short", ("sum by (actor) (actors_mailbox_messages)", "{{actor}}")),
            line("Emitted", "Events published.", "ops", (rate("actors_emitted_total", "actor"), "{{actor}}")),
            line(
                "Commands",
                "By how they were answered.",
                "ops",
                (rate("actors_commands_total", "actor, outcome"), "{{actor}} {{outcome}}"),
            ),
        ],
        "Accidents": [
            line(
                "Restarts", "Incarnations that crashed.", "ops", (rate("actors_restarts_total", "actor"), "{{actor}}")
            ),
            line(
                "Source restarts",
                "Captures and streams that ended, crashed or fell silent.",
                "ops",
                (rate("actors_source_restarts_total", "actor"), "{{actor}}"),
            ),
            line(
                "Given up",
                "Events that became dead letters.",
                "ops",
                (rate("actors_deadletters_total", "actor"), "{{actor}}"),
            ),
            line(
                "Delivered again",
                "A process died with them, or asked for another try.",
                "ops",
                (rate("actors_redelivered_total", "actor"), "{{actor}}"),
            ),
        ],
        "Pictures and runs": [
            line(
                "Pictures",
                "Sent, or passed over for a newer one.",
                "ops",
                (rate("actors_frames_total", "actor, outcome"), "{{actor}} {{outcome}}"),
            ),
            line(
                "Pictures from Octane",
                "By what became of them.",
                "ops",
                (rate("actors_octane_pictures_total", "outcome"), "{{outcome}}"),
            ),
            line("Encoding a picture", "From raw bytes to JPEG.", "s", *quantiles("actors_octane_encode_seconds")),
            line("Runs known", "Running, or lately over.", "short", ("sum(actors_runs)", "runs")),
            line(
                "Runs failed in their stead",
                "Their producer vanished.",
                "ops",
                (rate("actors_runs_vanished_total"), "vanished"),
            ),
            line(
                "Run events passed over",
                "By why.",
                "ops",
                (rate("actors_run_events_ignored_total", "reason"), "{{reason}}"),
            ),
        ],
        "Processes": [
            line(
                "CPU",
                "Cores in use.",
                "none",
                (rate('process_cpu_seconds_total{job="callboard-actors"}', "instance"), "{{instance}}"),
            ),
            line(
                "Memory",
                "Resident.",
                "bytes",
                ('sum by (instance) (process_resident_memory_bytes{job="callboard-actors"})', "{{instance}}"),
            ),
            line(
                "Event loop lag, p99",
                "How late an actor's process comes to its work.",
                "s",
                (quantile(0.99, 'ops_loop_lag_seconds{job="callboard-actors"}', "instance"), "{{instance}}"),
            ),
        ],
    },
)
