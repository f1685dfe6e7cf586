"""The metrics of webhooks; labels come from closed sets, never from data."""

from __future__ import annotations

import time

from prometheus_client import Counter, Gauge

from edge.metrics import BatchedHistogram, acknowledge_seconds
from edge.webhooks.shortage import REASONS

OUTCOMES = (
    "delivered", "gone", "payload_too_large", "unsupported_type", "throttled", "server_error", "redirect", "rejected",
    "disabled", "aborted", "ssrf_blocked", "bad_url", "timeout", "connect_timeout", "dns", "tls",
    "refused", "reset", "bad_answer", "network", "proxy", "oauth_failed",
    "decode_error",
)  # fmt: skip
JOBS = ("queued", "repeated", "overflow", "retried", "split", "parked", "dropped", "deadlettered")
STATES = ("closed", "paused", "open", "half_open", "disabled")
# Of what a session may hold in HOOKS: less than half, more, all; and what sessions wait for that get no more jobs.
SHARES = ("some", "half", "all")
WAITING = ("endpoint", "share", "stream", "filter", "past")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

attempts = Counter("edge_webhook_attempts_total", "Attempts made, by their outcome", ["outcome"])
seconds = BatchedHistogram("edge_webhook_seconds", "Duration of an attempt", buckets=_SECONDS)
age = BatchedHistogram(
    "edge_webhook_age_seconds", "From the time a job was queued until it was delivered", buckets=(*_SECONDS, 600, 3600)
)
jobs = Counter("edge_webhook_jobs_total", "Jobs, by what happened to them", ["event"])
in_flight = Gauge("edge_webhook_in_flight", "Attempts under way in this process")
# Read when it is scraped, not set twice for each attempt.
under_way: set[object] = set()
in_flight.set_function(lambda: len(under_way))
lag = Gauge("edge_webhook_fanout_lag_events", "Events that the fan-out has not turned into jobs yet; in its owner")
owner = Gauge("edge_webhook_fanout_owner", "1 in the process that fans out")
lost = Counter("edge_webhook_fanout_lost_events_total", "Events that ran out of retention before they were fanned out")
gaps = Counter("edge_webhook_gaps_total", "Times that events ran out of retention before a webhook session got them")
gap_events = Counter(
    "edge_webhook_gap_events_total", "Events in these gaps, whether the session would have been sent them or not"
)

held = Gauge(
    "edge_webhook_holding_sessions",
    "Sessions with jobs in HOOKS, by the share of their limit that they hold; in the fan-out's owner",
    ["share"],
)
waiting = Gauge(
    "edge_webhook_waiting_sessions",
    "Sessions whose events wait in EVENTS, by what they wait for; in the fan-out's owner",
    ["reason"],
)
backlog = Gauge(
    "edge_webhook_backlog_events",
    "Events between the newest and the session that is furthest behind; in the fan-out's owner",
)
backlog_share = Gauge(
    "edge_webhook_backlog_retention_ratio",
    "The same as a share of what EVENTS keeps: at 1 that session starts to lose events; in the fan-out's owner",
)

partitions = Gauge("edge_webhook_partitions", "Partitions that this process owns")
partitions_unowned = Gauge(
    "edge_webhook_partitions_unowned", "Partitions that no process owns, as far as this process knows: the same in each"
)
leases_lost = Counter("edge_webhook_leases_lost_total", "Partitions lost to another process, or because NATS was away")
redelivered = Counter(
    "edge_webhook_redelivered_total", "Jobs that NATS redelivered while this process was still working on them"
)
parked = Gauge(
    "edge_webhook_parked_jobs", "Jobs that wait for an endpoint that is not available; in the owner of its partition"
)
parked_age = Gauge("edge_webhook_parked_age_seconds", "Age of the oldest parked job")
lateness = BatchedHistogram(
    "edge_webhook_retry_lateness_seconds",
    "Delay of retries behind the time that they were scheduled for",
    buckets=_SECONDS,
)
endpoints = Gauge(
    "edge_webhook_endpoints", "Endpoints owned by this process, by the state of their circuit breaker", ["state"]
)
reconnects = Counter(
    "edge_webhook_reconnects_total", "Attempts repeated on a new connection because the idle one had been closed"
)
postponed = Counter(
    "edge_webhook_postponed_total",
    "Attempts postponed because of a shortage in this process or a forbidden address",
    ["reason"],
)
waiting_for_connection = Gauge(
    "edge_webhook_waiting_for_connection", "Attempts that wait because the connection pool is exhausted"
)
disabled = Counter("edge_webhook_disabled_total", "Endpoints that were disabled because they failed, or asked for it")
pending = Gauge(
    "edge_webhook_pending_jobs", "Jobs in the partitions of this process that it has not received yet", ["kind"]
)

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
# Looked up once: these are counted for every job.
queued, retried, parked_jobs = _jobs["queued"], _jobs["retried"], _jobs["parked"]

_acknowledge_seconds = acknowledge_seconds.labels("webhook")


def acknowledged(said: int, count: int) -> None:
    """Counts events that their endpoint has accepted; `said` is when the first of them was published, in ns."""
    _acknowledge_seconds.observe_many(max(0.0, time.time() - said / 1e9), count)


def attempt(fault: str, took: float) -> None:
    """Counts one attempt: its fault ("" for success), and its duration in seconds."""
    (_attempts.get(fault or "delivered") or _attempts["other"]).inc()
    seconds.observe_many(took, 1)


def attempted() -> tuple[float, float]:
    """How many attempts of this process succeeded, and how many failed, since its start."""
    counts = {outcome: counter._value.get() for outcome, counter in _attempts.items()}
    good = counts.pop("delivered")
    return good, sum(counts.values())


class PartitionMetrics:
    """Reports the partitions of this process."""

    def lost(self, count: int) -> None:
        leases_lost.inc(count)

    def stand(self, owned: int, unowned: int) -> None:
        partitions.set(owned)
        partitions_unowned.set(unowned)
