"""A viewer moves down the ladder when it cannot keep up for some seconds, and up later, ever less often where it fails."""

from __future__ import annotations

from edge.transports.video.ladder import GOOD_SECONDS, SLOW_SECONDS, RungLadder, higher, lower
from router.rungs import Rung


def look(ladder: RungLadder, seconds: int, sent: int, missed: int) -> list[str]:
    said = [ladder.look(sent, missed, 1080) for _ in range(seconds)]
    return [each for each in said if each is not None]


def test_a_viewer_that_does_not_keep_up_for_some_seconds_moves_down_one_rung() -> None:
    ladder = RungLadder(Rung("h264"))

    assert look(ladder, SLOW_SECONDS - 1, 5, 25) == []
    assert look(ladder, 1, 30, 0) == []
    assert look(ladder, SLOW_SECONDS, 5, 25) == ["slow"]
    assert ladder.rung == Rung("h264", 720)


def test_it_moves_up_when_it_has_kept_up_and_not_past_what_it_asked_for() -> None:
    ladder = RungLadder(Rung("jpeg", 480))
    look(ladder, SLOW_SECONDS, 5, 25)
    assert ladder.rung == Rung("jpeg", 240)

    assert look(ladder, GOOD_SECONDS, 30, 0) == ["recovered"]
    assert ladder.rung == Rung("jpeg", 480)
    assert look(ladder, 10 * GOOD_SECONDS, 30, 0) == []


def test_each_attempt_that_fails_doubles_the_wait() -> None:
    ladder = RungLadder(Rung("jpeg", 480))
    moves = 0
    for _ in range(600):
        below = ladder.rung != ladder.asked
        moves += ladder.look(30 if below else 5, 0 if below else 25, 1080) == "recovered"

    assert 3 <= moves <= 6


def test_what_a_still_camera_sends_says_nothing() -> None:
    assert look(RungLadder(Rung()), 60, 0, 1) == []


def test_rungs_that_the_source_does_not_reach_are_left_out() -> None:
    assert lower(Rung(), 480) == Rung("jpeg", 240)
    assert lower(Rung("jpeg", 240), 1080) is None
    assert higher(Rung("jpeg", 240), Rung(), 480) == Rung()
    assert higher(Rung("jpeg", 240), Rung(), 1080) == Rung("jpeg", 480)
