"""This file is where the edge's metrics are declared; labels come from closed sets, never from data."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Gauge, Histogram

LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Timing(Histogram):
    """A histogram that takes one observation for many: the same batch written to hundreds of readers in one tick."""

    def observe_many(self, amount: float, count: int) -> None:
        """Observes the same amount so many times."""
        self._sum.inc(amount * count)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(count)


heard = Counter("edge_heard_events_total", "Events that this process heard from the store")
hear_seconds = Timing(
    "edge_publish_to_hear_seconds", "From an event's own time until this process heard it", buckets=LATENCY
)
write_seconds = Timing(
    "edge_publish_to_write_seconds",
    "From the newest event's own time until a batch was written",
    ["transport"],
    buckets=LATENCY,
)
delivered = Counter("edge_delivered_events_total", "Events written to readers", ["transport"])
readers = Gauge("edge_readers", "Open connections that read sessions", ["transport"])
disconnects = Counter("edge_disconnects_total", "Connections that ended", ["transport", "reason"])
suspicions = Counter("edge_suspicions_total", "Times that events may have been missed and were read again")
replays = Counter("edge_replay_reads_total", "Pages that readers asked of the store")
ingested = Counter("edge_ingested_events_total", "Events accepted over HTTP", ["outcome"])
sessions = Gauge("edge_sessions", "Sessions known to this process")
sessions_expired = Counter("edge_sessions_expired_total", "Sessions deleted because nobody read them")
frames = Counter("edge_frames_total", "Pictures written to viewers", ["transport"])
frames_dropped = Counter("edge_frames_dropped_total", "Pictures a viewer was too slow for", ["transport"])
viewers = Gauge("edge_viewers", "Open connections that watch pictures", ["transport"])

TRANSPORTS = ("websocket", "sse", "polling")
for _transport in TRANSPORTS:
    write_seconds.labels(_transport)
    delivered.labels(_transport)
    readers.labels(_transport)
for _transport in ("websocket", "mjpeg"):
    frames.labels(_transport)
    frames_dropped.labels(_transport)
    viewers.labels(_transport)
for _outcome in ("stored", "duplicate", "refused"):
    ingested.labels(_outcome)
