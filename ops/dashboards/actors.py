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
                "By outcome.",
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
                "From an event's timestamp.",
                "s",
                (quantile(0.99, "actors_publish_to_receive_seconds", "actor"), "{{actor}}"),
            ),
            line(
                "Delay until done, p99",
                "From an event's timestamp until its acknowledgement.",
                "s",
                (quantile(0.99, "actors_publish_to_acknowledge_seconds", "actor"), "{{actor}}"),
            ),
            line(
                "Lag",
                "Events of its subjects that an actor has not settled.",
                "short",
                ("max by (actor) (actors_lag_events)", "{{actor}}"),
            ),
            line("Oldest event in hand", "Age.", "s", ("max by (actor) (actors_lag_seconds)", "{{actor}}")),
            line("Mailbox", "Messages waiting.", "short", ("sum by (actor) (actors_mailbox_messages)", "{{actor}}")),
            line("Emitted", "Events published.", "ops", (rate("actors_emitted_total", "actor"), "{{actor}}")),
            line(
                "Commands",
                "By outcome.",
                "ops",
                (rate("actors_commands_total", "actor, outcome"), "{{actor}} {{outcome}}"),
            ),
        ],
        "Faults": [
            line(
                "Restarts", "Incarnations that crashed.", "ops", (rate("actors_restarts_total", "actor"), "{{actor}}")
            ),
            line(
                "Source restarts",
                "Sources that ended, crashed or went silent.",
                "ops",
                (rate("actors_source_restarts_total", "actor"), "{{actor}}"),
            ),
            line(
                "Dead letters",
                "Events given up.",
                "ops",
                (rate("actors_deadletters_total", "actor"), "{{actor}}"),
            ),
            line(
                "Redeliveries",
                "A process died with the event, or asked for a retry.",
                "ops",
                (rate("actors_redelivered_total", "actor"), "{{actor}}"),
            ),
        ],
        "Frames and runs": [
            line(
                "Frames",
                "Sent, or dropped for a newer one.",
                "ops",
                (rate("actors_frames_total", "actor, outcome"), "{{actor}} {{outcome}}"),
            ),
            line(
                "Frames from Octane",
                "By outcome.",
                "ops",
                (rate("actors_octane_pictures_total", "outcome"), "{{outcome}}"),
            ),
            line(
                "Octanes",
                "By what they are: absent, refused, busy or connected.",
                "short",
                ("sum by (state) (actors_octane_state)", "{{state}}"),
            ),
            line(
                "Pictures on screen",
                "Of Octanes: live, stale, unreadable, or none yet.",
                "short",
                ("sum by (state) (actors_octane_picture)", "{{state}}"),
            ),
            line("Encoding a frame", "From raw bytes to JPEG.", "s", *quantiles("actors_octane_encode_seconds")),
            line("Runs known", "Running, or ended recently.", "short", ("sum(actors_runs)", "runs")),
            line(
                "Vanished runs",
                "Failed because their producer's lease expired.",
                "ops",
                (rate("actors_runs_vanished_total"), "vanished"),
            ),
            line(
                "Run events ignored",
                "By reason.",
                "ops",
                (rate("actors_run_events_ignored_total", "reason"), "{{reason}}"),
            ),
            line("Entities with metrics", "In memory.", "short", ("sum(actors_metric_entities)", "entities")),
            line(
                "States of entities",
                "Published: whole snapshots, and changes since.",
                "ops",
                (rate("actors_metric_states_total", "kind"), "{{kind}}"),
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
