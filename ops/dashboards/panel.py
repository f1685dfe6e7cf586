"""This file is where it is said what the dashboards show: rows of panels, each a title, what it means, its unit, its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Query(NamedTuple):
    """One line of a panel."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel. `about` is what a person who has never seen it needs to know."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    stack: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard: rows of panels by their names."""

    uid: str
    title: str
    rows: Mapping[str, Sequence[Panel]]


def line(title: str, about: str, unit: str, *queries: tuple[str, str], stack: bool = False) -> Panel:
    return Panel(title, about, unit, [Query(*query) for query in queries], stack=stack)


def stat(title: str, about: str, unit: str, expr: str, legend: str = "") -> Panel:
    return Panel(title, about, unit, [Query(expr, legend)], kind="stat")


def rate(metric: str, by: str = "") -> str:
    """The sum of a counter's rates."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    """A quantile over all processes, of a histogram given without `_bucket`."""
    name, brace, rest = metric.partition("{")
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({name}_bucket{brace}{rest}[$__rate_interval])))"


def quantiles(metric: str) -> list[tuple[str, str]]:
    return [(quantile(share, metric), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]


def most(metric: str, by: str) -> str:
    """What several processes say of the same thing, once."""
    return f"max by ({by}) ({metric})"


HOPS = line(
    "Delay by hop, p99",
    "From an event's own time until each hop. Written covers live delivery; acknowledged is a webhook's 2xx or the next poll.",
    "s",
    (quantile(0.99, "router_publish_to_store_seconds"), "stored"),
    (quantile(0.99, "edge_publish_to_hear_seconds"), "heard"),
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
    "By every process that publishes through the router, by what JetStream made of them.",
    "ops",
    (rate("router_published_events_total", "outcome"), "{{outcome}}"),
)
LOOP = line(
    "Event loop lag, p99",
    "How late each process comes to its work. Above 50 ms everything it does waits.",
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

OVERVIEW = Board(
    "callboard-overview",
    "Callboard / Overview",
    {
        "Now": [
            stat("Processes up", "Targets that Prometheus could scrape.", "short", 'sum(up{job=~"callboard-.*"})'),
            stat(
                "Ready", "1 while each thing that readiness hangs on is well in every edge.", "short", "min(edge_ready)"
            ),
            stat(
                "Alerts firing",
                "Of the rules under ops/prometheus.",
                "short",
                'count(ALERTS{alertstate="firing"}) or vector(0)',
            ),
            stat(
                "Delay, p99",
                "From an event's own time until it was written, live.",
                "s",
                quantile(0.99, "edge_publish_to_write_seconds"),
            ),
            stat("Readers", "Open connections that read sessions.", "short", "sum(edge_readers)"),
            stat(
                "Dead letters kept",
                "Deliveries that were given up and lie there.",
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
                "From an event's own time until it was written to a live reader.",
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
                "Deliveries given up, by why.",
                "ops",
                (f"topk(10, {rate('edge_deadletters_total', 'reason')})", "{{reason}}"),
            ),
            line(
                "Streams, share of their room",
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
                "Share of their room",
                "0 where there is no limit.",
                "percentunit",
                (most("router_stream_fullness_ratio", "stream"), "{{stream}}"),
            ),
            line(
                "Oldest message",
                "Its age: how far back one can read.",
                "s",
                (most("router_stream_oldest_age_seconds", "stream"), "{{stream}}"),
            ),
            line(
                "Newest sequence of EVENTS",
                "And what edges have heard; apart only while something is wrong.",
                "none",
                ('max(router_stream_last_sequence{stream="EVENTS"})', "stored"),
                ("max(edge_position_sequence)", "heard"),
            ),
            line("Consumers", "Of each stream.", "short", (most("router_stream_consumers", "stream"), "{{stream}}")),
            line(
                "Leaders",
                "1 where the stream has one.",
                "short",
                ("min by (stream) (router_stream_leader)", "{{stream}}"),
            ),
            line(
                "Replicas behind",
                "Not current, or away.",
                "short",
                (most("router_stream_replicas_behind", "stream"), "{{stream}}"),
            ),
            line(
                "Last look at the streams",
                "Seconds ago.",
                "s",
                ("time() - max(router_streams_surveyed_timestamp_seconds)", "ago"),
            ),
        ],
        "Publishing": [
            PUBLISHED,
            line(
                "Until JetStream had it",
                "From publishing to the acknowledgement, tries included.",
                "s",
                *quantiles("router_publish_seconds"),
            ),
            line("Requests", "Time NATS took to answer.", "s", *quantiles("router_request_seconds")),
        ],
        "Connections": [
            line(
                "Connections up",
                "Beside those there should be.",
                "short",
                ("sum(router_nats_connected)", "up"),
                ("sum(router_nats_connections)", "wanted"),
            ),
            line(
                "Losses and repairs",
                "Silences: believed up, and heard nothing. Slow: messages dropped by the client. Forbidden: a permission is missing.",
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

BOARDS = (OVERVIEW, EDGE, DELIVERY, ACTORS, JETSTREAM)
