"""How far a client has read, and how long it is waited for."""

from __future__ import annotations

from edge.transports.video.reading import FIRST_WAIT, MOST_UNREAD, MOST_WAIT, ReadingPace


def test_who_reads_all_is_never_waited_for_and_has_not_stalled() -> None:
    pace = ReadingPace(0.0)
    for n in range(50):
        pace.sent(1000, n / 25)
        assert pace.wait(0, n / 25) == 0.0

    assert pace.stalled(49 / 25) == 0.0


def test_the_wait_grows_while_it_stays_behind_and_shrinks_again() -> None:
    pace = ReadingPace(0.0)
    waits = []
    for n in range(20):
        pace.sent(1000, n / 25)
        waits.append(pace.wait(1000 * (n + 1), n / 25))

    assert waits[:MOST_UNREAD] == [0.0] * MOST_UNREAD
    assert FIRST_WAIT < waits[MOST_UNREAD] < waits[MOST_UNREAD + 1] < waits[-1] == MOST_WAIT
    assert pace.unread(3500, 1.0) == 4
    assert pace.wait(3500, 1.0) == 0.0


def test_who_reads_nothing_has_stalled_but_not_where_nothing_was_sent() -> None:
    pace = ReadingPace(0.0)
    for n in range(20):
        pace.sent(1000, float(n))
        pace.unread(1000 * (n + 1), float(n))
    assert pace.stalled(19.0) == 20.0 - MOST_UNREAD

    pace.unread(19_000, 19.0)
    assert pace.stalled(19.0) == 0.0

    pace.sent(1000, 100.0)
    assert pace.stalled(100.0) == 0.0
