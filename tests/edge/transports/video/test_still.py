"""A still is a picture captured after the request, also where the camera's clock is not ours."""

from __future__ import annotations

from edge.transports.video.frame import Frame
from edge.transports.video.still import NextCapture
from router.frame import pack


def captured(at: float | None, **more: object) -> Frame:
    return Frame(pack({"seq": 1, **({} if at is None else {"time": at}), **more}, b"x"))


def test_the_first_picture_captured_after_the_request_is_taken() -> None:
    asked = NextCapture(10_000.0)

    assert not asked.takes(captured(9_000.0), 10_010.0)
    assert not asked.takes(captured(9_990.0), 10_020.0)
    assert asked.takes(captured(10_001.0), 10_050.0)


def test_a_repeat_of_a_picture_is_no_capture_unless_its_time_is_new() -> None:
    asked = NextCapture(10_000.0)

    assert not any(asked.takes(captured(9_000.0, fresh=False), 10_000.0 + n * 1000) for n in range(20))
    assert asked.takes(captured(31_000.0, fresh=False), 31_010.0)


def test_a_picture_that_is_young_enough_is_taken() -> None:
    assert NextCapture(10_000.0, max_age=1.0).takes(captured(9_100.0), 10_000.0)
    assert not NextCapture(10_000.0, max_age=1.0).takes(captured(8_900.0), 10_000.0)


def test_where_the_camera_s_clock_is_another_a_picture_that_must_be_newer_is_taken() -> None:
    for skew in (-3_600_000.0, 3_600_000.0):
        asked = NextCapture(10_000.0)
        # The first was stored half a minute before the request.
        taken = [
            at
            for at in (-20_000.0, *(10_000.0 + 100 * n for n in range(40)))
            if asked.takes(captured(at + skew), at + 30)
        ]

        assert taken[0] == 12_000.0, skew


def test_pictures_without_a_time_are_told_apart_by_their_arrival() -> None:
    asked = NextCapture(10_000.0)

    arrivals = [10_000.0 + 500 * n for n in range(10)]
    assert next(at for at in arrivals if asked.takes(captured(None), at)) == 12_500.0
