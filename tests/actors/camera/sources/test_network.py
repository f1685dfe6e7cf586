from __future__ import annotations

from itertools import pairwise

import pytest

from actors.camera.sources.network import CaptureClock, unavailable


class Wall:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pictures_keep_the_distances_of_the_stream_however_late_they_arrive() -> None:
    wall = Wall()
    clock = CaptureClock(wall)

    times = []
    for number, late in enumerate((0.0, 0.05, 0.02, 0.3, 0.0, 0.01)):
        wall.now = 1000.0 + number * 0.1 + late
        times.append(clock.time_of(50.0 + number * 0.1))

    assert [round(b - a) for a, b in pairwise(times)] == pytest.approx([100] * 5, abs=1)
    assert times[0] == pytest.approx(1_000_000.0)


def test_a_stream_whose_clock_jumps_or_says_nothing_is_taken_as_it_arrives() -> None:
    wall = Wall()
    clock = CaptureClock(wall)

    first = clock.time_of(50.0)
    wall.now += 0.1
    jumped = clock.time_of(7.0)
    wall.now += 0.1
    untold = clock.time_of(None)

    assert [first, jumped, untold] == pytest.approx([1_000_000.0, 1_000_100.0, 1_000_200.0])


def test_times_never_go_backwards() -> None:
    clock = CaptureClock(Wall())

    assert clock.time_of(50.0) < clock.time_of(49.0) < clock.time_of(49.0)


def test_no_text_of_a_library_reaches_a_viewer() -> None:
    for fault in (
        OSError("rtsp://some:secret@cam/one"),
        ValueError("secret"),
        TimeoutError("secret"),
        EOFError("secret"),
    ):
        told = str(unavailable("cam:554", fault, 2.4))
        assert told.startswith("cam:554 ") and "secret" not in told
