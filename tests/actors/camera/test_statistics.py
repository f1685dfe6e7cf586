from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from actors.camera.statistics import CameraStatistics
from router.rungs import JPEG, Rung

H264 = Rung("h264")


def streamed(seconds: float = 1.0) -> CameraStatistics:
    statistics = CameraStatistics()
    for seq in range(int(20 * seconds)):
        now = 0.05 * seq
        statistics.note_captured(now)
        statistics.note_sent(now, JPEG, seq, 1000, 0.002)
        if seq % 2:
            statistics.note_sent(now, H264, seq, 100, 0.001 * seq)
    return statistics


def test_each_rung_has_its_rate_bytes_and_times_of_encoding() -> None:
    told = streamed().described(0.95, True, {JPEG: 2, H264: 1, Rung("h264", 240): 1})

    assert (told["fps"], told["capture_fps"], told["frames"], told["viewers"]) == (20.0, 20.0, 20, 4)
    assert told["rungs"]["jpeg"] == {
        "fps": 20.0,
        "bytes_per_second": 20000,
        "encode_ms": {"p50": 2.0, "p99": 2.0},
        "viewers": 2,
    }
    assert told["rungs"]["h264"]["fps"] == 10.0
    assert told["rungs"]["h264"]["encode_ms"] == {"p50": 9.0, "p99": 17.0}
    assert set(told["rungs"]) == {"jpeg", "h264"}
    assert told["bytes_per_second"] == 21000


def test_figures_of_a_camera_at_rest_or_of_a_source_that_stands_still_are_none() -> None:
    statistics = streamed()

    idle, still = statistics.described(1.0, False, {}), statistics.described(60.0, True, {JPEG: 1})
    assert (idle["fps"], idle["capture_fps"], idle["bytes_per_second"], idle["rungs"]) == (0.0, 0.0, 0, {})
    assert (still["fps"], still["rungs"]["jpeg"]["fps"], still["bytes_per_second"]) == (0.0, 0.0, 0)
    assert idle["frames"] == still["frames"] == 20


def test_a_picture_in_ten_seconds_is_a_rate() -> None:
    statistics = CameraStatistics()
    statistics.note_sent(0.0, JPEG, 0, 1000, 0.0)
    statistics.note_sent(10.0, JPEG, 1, 1000, 0.0)

    told = statistics.described(19.0, True, {JPEG: 1})
    assert (told["fps"], told["rungs"]["jpeg"]["encode_ms"]) == (0.1, None)


@pytest.mark.parametrize("reason", ["late", "bad", "encoder", "broker"])
def test_drops_are_counted_by_reason(reason: str) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("actors_camera_dropped_total", {"reason": reason}) or 0.0

    before, statistics = counted(), CameraStatistics()
    statistics.drop(reason, 3)
    statistics.drop(reason, 0)

    told = statistics.described(0.0, True, {})
    assert (told["dropped"], told["drops"][reason]) == (3, 3)
    assert sum(told["drops"].values()) == 3
    assert counted() == before + 3
