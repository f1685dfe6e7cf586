"""Defines the metrics of cameras. All cameras of a process are counted together: labels come from closed sets."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# From a small picture to one of 8K.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.25, 0.5, 1)

CAPTURED = Counter("actors_camera_captured_total", "New pictures that cameras captured")
SENT = Counter("actors_camera_sent_total", "Pictures sent, by rung", ("rung",))
SENT_BYTES = Counter("actors_camera_sent_bytes_total", "Bytes of the pictures sent, by rung", ("rung",))
ENCODE_SECONDS = Histogram(
    "actors_camera_encode_seconds", "Time to encode a picture, by rung", ("rung",), buckets=_SECONDS
)
DROPPED = Counter(
    "actors_camera_dropped_total",
    "Pictures dropped: captured late, bad, passed over by a busy encoder, or not taken by NATS",
    ("reason",),
)
VIEWERS = Gauge("actors_camera_viewers", "Leases and taps, by rung", ("rung",))
