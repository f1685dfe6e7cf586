"""Declares the Prometheus metrics of the edge; labels come from closed sets, never from data."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Gauge, Histogram

import router.metrics  # noqa: F401  registers the metrics of NATS and the streams
from router.deadletter import ORIGINS, REASONS

LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _UnlockedValue:
    """A metric value without prometheus_client's lock: only the event loop's thread adds to it, in every tick."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0.0

    def inc(self, amount: float) -> None:
        self.total += amount

    def get(self) -> float:
        return self.total

    def get_exemplar(self) -> None:
        return None


class Tally(Counter):
    """A counter without a lock, at a tenth of the cost, for what every tick counts; for the event loop's thread alone."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._value = self._plain = _UnlockedValue()

    def add(self, amount: float) -> None:
        """Adds an amount."""
        self._plain.total += amount

    @property
    def total(self) -> float:
        """What was added since the start."""
        return self._plain.total


class BatchedHistogram(Histogram):
    """A histogram that takes one observation for many: the same batch written to hundreds of readers in one tick.

    For the event loop's thread alone.
    """

    def _metric_init(self) -> None:
        super()._metric_init()
        self._sum = self._plain = _UnlockedValue()
        self._buckets = self._counts = [_UnlockedValue() for _ in self._upper_bounds]

    def observe_many(self, amount: float, count: int) -> None:
        """Observes the same amount `count` times."""
        self._plain.total += amount * count
        self._counts[bisect_left(self._upper_bounds, amount)].total += count


received = Tally("edge_received_events_total", "Events received live from the event store by this process")
receive_seconds = BatchedHistogram(
    "edge_publish_to_receive_seconds", "Time from an event's timestamp until this process received it", buckets=LATENCY
)
write_seconds = BatchedHistogram(
    "edge_publish_to_write_seconds",
    "Time from the newest event's timestamp until its batch was written",
    ["transport"],
    buckets=LATENCY,
)
acknowledge_seconds = BatchedHistogram(
    "edge_publish_to_acknowledge_seconds",
    "Time from an event's timestamp until its receiver acknowledged it: a 2xx, or the next poll",
    ["transport"],
    buckets=(*LATENCY, 30, 60, 600, 3600),
)
replay_seconds = BatchedHistogram(
    "edge_publish_to_replay_seconds",
    "Time from the newest event's timestamp until its replayed batch was written: how far behind the reader was",
    ["transport"],
    buckets=(*LATENCY, 60, 600, 3600, 86400),
)
delivered = Tally("edge_delivered_events_total", "Events written to readers", ["transport"])
replayed = Tally(
    "edge_replayed_events_total", "Events written to readers that were replayed from the store", ["transport"]
)
written = Tally("edge_written_bytes_total", "Bytes of events written to readers", ["transport"])
dropped = Counter("edge_dropped_events_total", "Events dropped, by reason", ["reason"])
spills = Counter("edge_spills_total", "Mailboxes that overflowed, so that their readers read from the store instead")
gaps = Counter("edge_gaps_total", "Gaps reported to readers, by reason", ["reason"])
recoveries = Counter(
    "edge_recoveries_total", "Readers that connected, by whether they resumed at their cursor", ["outcome"]
)
refusals = Counter("edge_refusals_total", "Requests refused, by problem code", ["code"])
requests = Tally("edge_requests_total", "Requests answered, by route and status class", ["route", "status"])
request_seconds = BatchedHistogram(
    "edge_request_seconds",
    "Time from a request until its response began",
    ["route"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10),
)
readers = Gauge("edge_readers", "Open connections that read sessions", ["transport"])
disconnects = Counter(
    "edge_disconnects_total", "Connections that ended, by transport and reason", ["transport", "reason"]
)
rollbacks = Counter("edge_rollbacks_total", "Times that the event stream was found restored to an older state")
possible_losses = Counter(
    "edge_possible_losses_total", "Times that events may have been lost and were read again from the store"
)
filters_deferred = Counter(
    "edge_filters_deferred_total",
    "Times that a session's filter exceeded its principal's budget and left the live path",
)
filters_offloaded = Counter("edge_filters_offloaded_events_total", "Events evaluated in the filter process")
filter_process_losses = Counter("edge_filter_process_losses_total", "Times that the filter process died")
replays = Counter("edge_replay_reads_total", "Pages read from the store for replays")
ingested = Tally("edge_ingested_events_total", "Events published over HTTP, by outcome", ["outcome"])
sessions_expired = Counter("edge_sessions_expired_total", "Sessions deleted because their idle time (TTL) ran out")
frames = Tally("edge_frames_total", "Video frames written to viewers", ["transport"])
frames_dropped = Counter(
    "edge_frames_dropped_total", "Video frames dropped because a viewer was too slow", ["transport"]
)
frames_dropped_by_reason = Counter(
    "edge_frames_dropped_by_reason_total", "Video frames that a viewer was not sent, by reason", ["transport", "reason"]
)
frames_repeated = Tally(
    "edge_frames_repeated_total", "Video frames written that their source had sent before", ["transport"]
)
frames_bytes = Tally("edge_frames_bytes_total", "Bytes of video frames written to viewers", ["transport"])
frames_age = BatchedHistogram(
    "edge_frames_age_seconds",
    "Time from the capture of a video frame until its viewer painted or acknowledged it, or its socket had taken it",
    ["transport"],
    buckets=(0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1, 1.5, 2.5, 5, 10),
)
viewers = Gauge("edge_viewers", "Open video connections", ["transport"])
deadletters = Counter(
    "edge_deadletters_total",
    "Dead letters stored by all processes; counted by the one that follows the stream",
    ["origin", "reason"],
)
deadletters_kept = Gauge("edge_deadletters_messages", "Dead letters stored")
deadletters_bytes = Gauge("edge_deadletters_bytes", "Bytes of dead letters stored")
deadletters_fullness = Gauge(
    "edge_deadletters_fullness_ratio", "Share of the dead letter stream's capacity in use; at 1 the oldest are dropped"
)
deadletters_owner = Gauge("edge_deadletters_owner", "1 in the process that announces dead letters and runs redrives")
undecodable = Counter(
    "edge_undecodable_records_total",
    "Records of the event stream that this process could not decode and skipped, by reason",
    ["reason"],
)
record_faults = Counter(
    "edge_record_faults_total", "Records at which a loop failed and went on with the next, by loop", ["loop"]
)
redriven = Counter("edge_redriven_deadletters_total", "Dead letters processed by redrives, by outcome", ["outcome"])
redrives = Counter("edge_redrives_total", "Redrives that ended, by state", ["state"])

TRANSPORTS = ("websocket", "sse", "polling")
DROPS = ("conflated",)
GAPS = ("beyond_retention", "foreign_cursor")
# fresh: sent no cursor; gap: sent one that is no longer, or never was, valid here.
RECOVERIES = ("recovered", "gap", "fresh")
UNDECODABLE = ("decode_error", "malformed_event", "fault", "too_large")
LOOPS = ("receive", "encode", "fanout", "webhook", "redrive", "recovery")
for _reason in UNDECODABLE:
    undecodable.labels(_reason)
for _loop in LOOPS:
    record_faults.labels(_loop)
for _transport in TRANSPORTS:
    write_seconds.labels(_transport)
    replay_seconds.labels(_transport)
    delivered.labels(_transport)
    replayed.labels(_transport)
    written.labels(_transport)
    readers.labels(_transport)
for _transport in ("webhook", "polling"):
    acknowledge_seconds.labels(_transport)
for _reason in DROPS:
    dropped.labels(_reason)
for _reason in GAPS:
    gaps.labels(_reason)
for _outcome in RECOVERIES:
    recoveries.labels(_outcome)
# Why a viewer was not sent a picture: see edge/transports/video/viewer.py.
FRAME_DROPS = ("slow", "behind", "gap", "old", "rate")
for _transport in ("websocket", "mjpeg", "mp4", "whep"):
    frames.labels(_transport)
    frames_repeated.labels(_transport)
    frames_bytes.labels(_transport)
    frames_age.labels(_transport)
    for _reason in FRAME_DROPS:
        frames_dropped_by_reason.labels(_transport, _reason)
    frames_dropped.labels(_transport)
    viewers.labels(_transport)
for _outcome in ("stored", "duplicate", "refused"):
    ingested.labels(_outcome)
for _origin in ORIGINS:
    for _reason in REASONS:
        deadletters.labels(_origin, _reason)
for _outcome in ("sent", "failed", "skipped"):
    redriven.labels(_outcome)
for _state in ("done", "failed", "cancelled"):
    redrives.labels(_state)
