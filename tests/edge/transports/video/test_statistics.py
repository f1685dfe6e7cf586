"""What viewers are delivered is counted by transport; a repeat is no new picture, and a summary begins to count anew."""

from __future__ import annotations

from edge.transports.video.statistics import MOST_AGES, SourceCounts, TransportCounts
from tests.edge.transports.video.test_viewer import picture


def test_a_summary_says_rate_bytes_drops_and_ages() -> None:
    counts = TransportCounts("websocket", viewers=2)
    for seq in range(10):
        counts.sent(picture(seq), 1000)
        counts.aged(10.0 * seq)
    counts.sent(picture(9, fresh=False), 1000)
    counts.drop({"slow": 3})

    said = counts.summary(5.0)

    assert said == {
        "viewers": 2, "fps": 2.0, "bytes_per_second": 2200, "repeated": 1, "dropped": {"slow": 3},
        "age_ms": {"p50": 50.0, "p99": 90.0},
    }  # fmt: skip
    assert counts.summary(5.0)["fps"] == 0.0 and counts.summary(5.0)["age_ms"] is None


def test_ages_are_bounded_and_a_wrong_clock_is_no_age() -> None:
    counts = TransportCounts("websocket")
    for _ in range(2 * MOST_AGES):
        counts.aged(5.0)
    counts.aged(1e12)

    assert len(counts.ages) == MOST_AGES and max(counts.ages) == 5.0


def test_a_source_is_counted_by_transport() -> None:
    source = SourceCounts()
    source.of("websocket").viewers += 2
    source.of("mjpeg").viewers += 1

    assert source.viewers == 3 and set(source.summary(1.0)["transports"]) == {"websocket", "mjpeg"}
