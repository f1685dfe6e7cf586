"""This file is where webhooks are counted; labels come from closed sets, never from data."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge

from edge.metrics import Timing, acknowledge_seconds
from edge.webhooks.shortage import REASONS

OUTCOMES = (
    "delivered", "gone", "payload_too_large", "unsupported_type", "throttled", "server_error", "redirect", "rejected",
    "disabled", "aborted", "ssrf_blocked", "bad_url", "timeout", "connect_timeout", "dns", "tls",
    "refused", "reset", "bad_answer", "network", "proxy", "oauth_failed",
    "decode_error",
)  # fmt: skip
JOBS = ("queued", "repeated", "overflow", "retried", "split", "parked", "dropped", "deadlettered")
STATES = ("closed", "paused", "open", "half_open", "disabled")
# Of what a session may hold in HOOKS: less than half, more, all; and what sessions wait for that get no more.
SHARES = ("some", "half", "all")
WAITING = ("endpoint", "share", "stream", "filter", "past")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

attempts = Counter("edge_webhook_attempts_total", "Posts made, by what they came to", ["outcome"])
seconds = Timing("edge_webhook_seconds", "Time one post took", buckets=_SECONDS)
age = Timing(
    "edge_webhook_age_seconds", "From a job's first queueing until it was delivered", buckets=(*_SECONDS, 600, 3600)
)
jobs = Counter("edge_webhook_jobs_total", "What happened to jobs", ["event"])
in_flight = Gauge("edge_webhook_in_flight", "Posts under way in this process")
# Asked for when it is looked at, not told twice for each post.
under_way: set[object] = set()
in_flight.set_function(lambda: len(under_way))
lag = Gauge("edge_webhook_fanout_lag_events", "Events that the fan-out has not turned into jobs yet; on its owner")
owner = Gauge("edge_webhook_fanout_owner", "1 in the process that fans out")
lost = Counter("edge_webhook_fanout_lost_events_total", "Events that ran out of retention before they were fanned out")
gaps = Counter("edge_webhook_gaps_total", "Times that events ran out of retention before a webhook session got them")
gap_events = Counter(
    "edge_webhook_gap_events_total", "Events of these gaps, whether the session would have shown them or not"
)

held = Gauge(
    "edge_webhook_holding_sessions",
    "Sessions with jobs in HOOKS, by how much of what they may hold they hold; on the fan-out's owner",
    ["share"],
)
waiting = Gauge(
    "edge_webhook_waiting_sessions",
    "Sessions whose further events wait in EVENTS, by what they wait for; on the fan-out's owner",
    ["reason"],
)
backlog = Gauge(
    "edge_webhook_backlog_events", "Events between the furthest of them and the newest; on the fan-out's owner"
)
backlog_share = Gauge(
    "edge_webhook_backlog_retention_ratio",
    "Share of what EVENTS keeps that lies behind the furthest of them: at 1 it begins to lose events; on the fan-out's owner",
)

partitions = Gauge("edge_webhook_partitions", "Partitions that this process owns")
partitions_unowned = Gauge(
    "edge_webhook_partitions_unowned", "Partitions that nobody works, as far as this process knows: the same in each"
)
leases_lost = Counter("edge_webhook_leases_lost_total", "Partitions lost to another process, or for want of NATS")
redelivered = Counter("edge_webhook_redelivered_total", "Jobs that NATS handed out again while they were known here")
parked = Gauge(
    "edge_webhook_parked_jobs", "Jobs that wait for an endpoint which cannot take them; where they are owned"
)
parked_age = Gauge("edge_webhook_parked_age_seconds", "Age of the oldest of them")
lateness = Timing(
    "edge_webhook_retry_lateness_seconds", "From the time a retry was scheduled for until it came", buckets=_SECONDS
)
endpoints = Gauge("edge_webhook_endpoints", "Endpoints served here, by the state of their breaker", ["state"])
reconnects = Counter(
    "edge_webhook_reconnects_total", "Posts repeated on a new connection because the kept one had been closed"
)
postponed = Counter(
    "edge_webhook_postponed_total", "Posts put off because of what this process lacks or may not reach", ["reason"]
)
waiting_for_connection = Gauge(
    "edge_webhook_waiting_for_connection", "Posts that wait because all connections allowed are in use"
)
disabled = Counter("edge_webhook_disabled_total", "Endpoints that were disabled because they failed, or said so")
pending = Gauge("edge_webhook_pending_jobs", "Jobs of the partitions owned here that are not in hand yet", ["kind"])

_attempts = {outcome: attempts.labels(outcome) for outcome in (*OUTCOMES, "other")}
for _state in STATES:
    endpoints.labels(_state)
for _reason in REASONS:
    postponed.labels(_reason)
for _share in SHARES:
    held.labels(_share)
for _reason in WAITING:
    waiting.labels(_reason)
for _kind in ("fresh", "due"):
    pending.labels(_kind)
_jobs = {event: jobs.labels(event) for event in JOBS}
# What is counted for every job has its label looked up already.
queued, retried, parked_jobs = _jobs["queued"], _jobs["retried"], _jobs["parked"]

_acknowledge_seconds = acknowledge_seconds.labels("webhook")


def acknowledged(said: int, count: int) -> None:
    """Counts events that their endpoint has taken; given when the first of them was said, in ns."""
    _acknowledge_seconds.observe_many(max(0.0, time.time() - said / 1e9), count)


def attempt(fault: str, took: float) -> None:
    """Counts one attempt: what it came to ("" for success), and the seconds it took."""
    (_attempts.get(fault or "delivered") or _attempts["other"]).inc()
    seconds.observe_many(took, 1)


class PartitionMetrics:
    """Shows the partitions of this process."""

    def lost(self, count: int) -> None:
        leases_lost.inc(count)

    def stand(self, owned: int, unowned: int) -> None:
        partitions.set(owned)
        partitions_unowned.set(unowned)
