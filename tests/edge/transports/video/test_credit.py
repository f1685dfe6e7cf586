"""Credit bounds what is under way to a client, fills a long way, and shrinks where pictures wait for one another."""

from __future__ import annotations

from collections import deque

import pytest

from edge.transports.video.credit import LEAST_WINDOW, MOST_WINDOW, PACKET_WINDOW, Credit


def test_without_a_word_of_the_client_nothing_is_counted() -> None:
    credit = Credit()
    for seq in range(20):
        credit.sent(1, seq, 0.0, 0.0)

    assert credit.open and not credit.acknowledges


def test_two_pictures_are_under_way_until_one_is_shown() -> None:
    credit = Credit()
    credit.sent(1, 0, 0.0, 0.0)
    assert credit.shown(0, 1, 0.01) is not None
    credit.sent(1, 1, 0.0, 0.0)
    assert credit.open
    credit.sent(1, 2, 0.0, 0.0)

    assert not credit.open
    assert credit.shown(9, 1, 0.1) is None and not credit.open
    found = credit.shown(1, None, 0.1)
    assert found is not None and found.seq == 1 and credit.open


def test_showing_a_picture_shows_those_before_it() -> None:
    credit = Credit()
    for seq in range(4):
        credit.sent(1, seq, 0.0, 0.0)

    credit.shown(3, 1, 0.1)

    assert credit.under_way == 0


class SimulatedWay:
    """A way that takes so many seconds there and back, to a client that takes so long for each picture."""

    def __init__(self, way: float, each: float) -> None:
        self.way, self.each = way, each
        self.now = self._free = 0.0
        self.seq = 0
        # Seconds from the sending of each picture until it was shown.
        self.took: list[float] = []
        self._answers = deque[tuple[float, int, float]]()

    def run(self, credit: Credit, seconds: float, fps: float = 30.0) -> int:
        """Sends the newest picture of a source whenever there is credit; returns how many."""
        credit.acknowledges = True
        before, end, due, waiting = self.seq, self.now + seconds, self.now, False
        while self.now < end:
            while self._answers and self._answers[0][0] <= self.now:
                _, seq, sent = self._answers.popleft()
                self.took.append(self.now - sent)
                credit.shown(seq, 1, self.now)
            if self.now >= due:
                due, waiting = due + 1 / fps, True
            if waiting and credit.open:
                waiting = False
                self.seq += 1
                credit.sent(1, self.seq, 0.0, self.now)
                self._free = max(self._free, self.now + self.way / 2) + self.each
                self._answers.append((self._free + self.way / 2, self.seq, self.now))
            self.now += 0.001
        return self.seq - before


def test_a_long_way_is_filled_at_full_rate_and_stays_so() -> None:
    way = SimulatedWay(0.2, each=0.005)

    assert way.run(Credit(), 60) > 0.95 * 60 * 30


@pytest.mark.parametrize("each", [0.1, 0.2])
def test_a_slow_client_sees_the_present_for_minutes(each: float) -> None:
    way = SimulatedWay(0.002, each)
    credit = Credit(PACKET_WINDOW)
    way.run(credit, 10)
    way.took.clear()
    way.run(credit, 110)

    assert max(way.took) < 0.05 + LEAST_WINDOW * each * 1.5


def test_a_way_that_becomes_longer_is_filled_again() -> None:
    way, credit = SimulatedWay(0.01, each=0.005), Credit()
    way.run(credit, 30)
    way.way = 0.25
    way.run(credit, 40)

    assert way.run(credit, 20) > 0.9 * 20 * 30


def test_the_window_is_bounded() -> None:
    credit = Credit()

    SimulatedWay(1.0, each=0.0).run(credit, 30, fps=200)

    assert credit.window == MOST_WINDOW
