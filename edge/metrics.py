"""Declares the metrics of the edge; labels come from closed sets, never from data."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Gauge, Histogram

import router.metrics  # noqa: F401  NATS and the streams are shown beside it
from router.deadletter import ORIGINS, REASONS

LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Plain:
    """A value without prometheus_client's lock: only the event loop's thread adds to it, and that in every tick."""

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
    """A counter for what every tick counts: a tenth of the cost, and for the event loop's thread alone."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._value = self._plain = _Plain()

    def add(self, amount: float) -> None:
        """Counts so many."""
        self._plain.total += amount


class Timing(Histogram):
    """A histogram that takes one observation for many: the same batch written to hundreds of readers in one tick.

    For the event loop's thread alone.
    """

    def _metric_init(self) -> None:
        super()._metric_init()
        self._sum = self._plain = _Plain()
        self._buckets = self._counts = [_Plain() for _ in self._upper_bounds]

    def observe_many(self, amount: float, count: int) -> None:
        """Observes the same amount so many times."""
        self._plain.total += amount * count
        self._counts[bisect_left(self._upper_bounds, amount)].total += count


heard = Tally("edge_heard_events_total", "Events that this process heard from the store")
hear_seconds = Timing(
    "edge_publish_to_hear_seconds", "From an event's own time until this process heard it", buckets=LATENCY
)
write_seconds = Timing(
    "edge_publish_to_write_seconds",
    "From the newest event's own time until a batch was written",
    ["transport"],
    buckets=LATENCY,
)
acknowledge_seconds = Timing(
    "edge_publish_to_acknowledge_seconds",
    "From an event's own time until its receiver said that it has it: a 2xx, or the next poll",
    ["transport"],
    buckets=(*LATENCY, 30, 60, 600, 3600),
)
replay_seconds = Timing(
    "edge_publish_to_replay_seconds",
    "From the newest event's own time until a batch was written that was read again: how far behind its reader was",
    ["transport"],
    buckets=(*LATENCY, 60, 600, 3600, 86400),
)
delivered = Tally("edge_delivered_events_total", "Events written to readers", ["transport"])
replayed = Tally("edge_replayed_events_total", "Those of them that were read again for who came later", ["transport"])
written = Tally("edge_written_bytes_total", "Bytes of events written to readers", ["transport"])
dropped = Counter("edge_dropped_events_total", "Events left out, by why", ["reason"])
spills = Counter("edge_spills_total", "Mailboxes that were full: their readers read from the store instead")
gaps = Counter("edge_gaps_total", "Times that a reader was told of events lost to it, by why", ["reason"])
recoveries = Counter(
    "edge_recoveries_total", "Readers that began, by whether they could go on where they were", ["outcome"]
)
refusals = Counter("edge_refusals_total", "Requests refused, by the code of the problem", ["code"])
requests = Counter("edge_requests_total", "Requests answered, by route and kind of status", ["route", "status"])
request_seconds = Timing(
    "edge_request_seconds",
    "From a request until its answer began",
    ["route"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10),
)
readers = Gauge("edge_readers", "Open connections that read sessions", ["transport"])
disconnects = Counter("edge_disconnects_total", "Connections that ended", ["transport", "reason"])
rollbacks = Counter("edge_rollbacks_total", "Times that the event stream was found restored from an older state")
suspicions = Counter("edge_suspicions_total", "Times that events may have been missed and were read again")
filters_deferred = Counter(
    "edge_filters_deferred_total", "Times that a session's filter was over its principal's budget and off the live path"
)
filters_offloaded = Counter("edge_filters_offloaded_events_total", "Events that filters saw in the filter process")
filter_process_losses = Counter("edge_filter_process_losses_total", "Times that the filter process was lost")
replays = Counter("edge_replay_reads_total", "Pages that readers asked of the store")
ingested = Counter("edge_ingested_events_total", "Events accepted over HTTP", ["outcome"])
sessions_expired = Counter("edge_sessions_expired_total", "Sessions deleted because nobody read them")
frames = Counter("edge_frames_total", "Pictures written to viewers", ["transport"])
frames_dropped = Counter("edge_frames_dropped_total", "Pictures a viewer was too slow for", ["transport"])
viewers = Gauge("edge_viewers", "Open connections that watch pictures", ["transport"])
deadletters = Counter(
    "edge_deadletters_total",
    "Dead letters made by all processes; counted by the one that follows them",
    ["origin", "reason"],
)
deadletters_kept = Gauge("edge_deadletters_messages", "Dead letters kept")
deadletters_bytes = Gauge("edge_deadletters_bytes", "Bytes of dead letters kept")
deadletters_fullness = Gauge(
    "edge_deadletters_fullness_ratio", "Share of their room that dead letters take; at 1 the oldest are dropped"
)
deadletters_owner = Gauge("edge_deadletters_owner", "1 in the process that tells of dead letters and works redrives")
undecodable = Counter(
    "edge_undecodable_records_total",
    "Records of the event stream that are no events, met by this process and passed over, by why",
    ["reason"],
)
record_faults = Counter(
    "edge_record_faults_total", "Records at which a loop failed, and went on with the next, by the loop", ["loop"]
)
redriven = Counter("edge_redriven_deadletters_total", "Dead letters that redrives dealt with", ["outcome"])
redrives = Counter("edge_redrives_total", "Redrives that are over", ["state"])

TRANSPORTS = ("websocket", "sse", "polling")
DROPS = ("conflated",)
GAPS = ("beyond_retention", "foreign_cursor")
# fresh: came without a cursor of its own; gap: came with one that is no longer, or was never, good here.
RECOVERIES = ("recovered", "gap", "fresh")
UNDECODABLE = ("decode_error", "fault", "too_large")
LOOPS = ("hear", "encode", "fanout", "webhook", "redrive", "recovery")
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
for _transport in ("websocket", "mjpeg"):
    frames.labels(_transport)
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
