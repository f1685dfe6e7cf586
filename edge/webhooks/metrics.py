"""This file is where webhooks are counted; labels come from closed sets, never from data."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OUTCOMES = (
    "delivered", "gone", "payload_too_large", "unsupported_type", "throttled", "server_error", "redirect", "rejected",
    "ssrf_blocked", "bad_url", "timeout", "dns", "tls", "refused", "reset", "bad_answer", "network",
)  # fmt: skip
JOBS = ("queued", "repeated", "overflow", "retried", "deferred", "returned", "dropped", "deadlettered")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

attempts = Counter("edge_webhook_attempts_total", "Posts made, by what they came to", ["outcome"])
seconds = Histogram("edge_webhook_seconds", "Time one post took", buckets=_SECONDS)
age = Histogram(
    "edge_webhook_age_seconds", "From a job's first queueing until it was delivered", buckets=(*_SECONDS, 600, 3600)
)
jobs = Counter("edge_webhook_jobs_total", "What happened to jobs", ["event"])
in_flight = Gauge("edge_webhook_in_flight", "Posts under way in this process")
lag = Gauge("edge_webhook_fanout_lag_events", "Events that the fan-out has not turned into jobs yet; on its owner")
owner = Gauge("edge_webhook_fanout_owner", "1 in the process that fans out")
lost = Counter("edge_webhook_fanout_lost_events_total", "Events that ran out of retention before they were fanned out")

for _outcome in OUTCOMES:
    attempts.labels(_outcome)
for _event in JOBS:
    jobs.labels(_event)
