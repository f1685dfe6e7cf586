"""Credit bounds what is under way to a client, fills a long way, and shrinks where pictures wait for one another."""

from __future__ import annotations

from collections import deque

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


def run(credit: Credit, seconds: float, fps: float, way: float, each: float) -> int:
    """Sends pictures at a rate over a way that takes so long to a client that takes so long for each; returns how many."""
    now, seq, free, acks, due = 0.0, 0, 0.0, deque[tuple[float, int]](), 0.0
    credit.acknowledges = True
    while now < seconds:
        while acks and acks[0][0] <= now:
            credit.shown(acks.popleft()[1], 1, now)
        if now >= due:
            due += 1 / fps
            if credit.open:
                seq += 1
                credit.sent(1, seq, 0.0, now)
                free = max(free, now + way / 2) + each
                acks.append((free + way / 2, seq))
        now += 0.001
    return seq


def test_a_long_way_is_filled_at_full_rate() -> None:
    assert run(Credit(), 20, 30, way=0.2, each=0.005) > 0.9 * 20 * 30


def test_a_slow_client_keeps_the_least_window() -> None:
    credit = Credit(PACKET_WINDOW)

    run(credit, 20, 30, way=0.002, each=0.2)

    assert credit.window <= LEAST_WINDOW + 1


def test_the_window_is_bounded() -> None:
    credit = Credit()

    run(credit, 30, 200, way=1.0, each=0.0)

    assert credit.window == MOST_WINDOW
