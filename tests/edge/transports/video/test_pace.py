"""The pace of a viewer follows how fast it reads, as far as its kernel says."""

from __future__ import annotations

from collections import deque

import pytest

from edge.transports.video.pace import MOST_INTERVAL, ReadPace

# Seconds between two pictures of the source.
SOURCE = 1 / 30


class SimulatedClient:
    """Reads a picture each so many seconds; its kernel says `seen` of what is unread, when it was sent something."""

    def __init__(self, each: float, seen: float = 1.0) -> None:
        self.each, self.seen = each, seen
        self.held: deque[float] = deque()
        self.ages: list[float] = []
        self._next = 0.0
        self._said = 0.0

    def run(self, pace: ReadPace, begin: float, end: float) -> None:
        """Offers it a picture each SOURCE seconds."""
        for number in range(int(begin / SOURCE), int(end / SOURCE)):
            now = number * SOURCE
            self._read(now)
            if pace.due(now) > 0:
                continue
            pace.sent(now, self._said)
            pace.left(now)
            self.held.append(now)
            self._read(now)
            self._said = self.seen * len(self.held)

    def _read(self, now: float) -> None:
        while self.held and max(self._next, self.held[0]) <= now:
            sent = self.held.popleft()
            at = max(self._next, sent)
            self.ages.append(at - sent)
            self._next = at + self.each


@pytest.mark.parametrize("each", [0.05, 0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("seen", [1.0, 0.5])
def test_a_slow_client_is_sent_nearly_what_it_reads_and_sees_the_present(each: float, seen: float) -> None:
    client, pace = SimulatedClient(each, seen), ReadPace()
    client.run(pace, 0, 20)
    client.ages.clear()
    client.run(pace, 20, 80)

    assert len(client.ages) > 0.6 * 60 / each
    assert max(client.ages) < 0.2 + 6 * each


def test_a_quick_client_is_soon_sent_each_picture() -> None:
    client, pace = SimulatedClient(0.001), ReadPace()
    client.run(pace, 0, 3)
    client.ages.clear()
    client.run(pace, 3, 13)

    assert len(client.ages) >= 290


def test_a_client_that_becomes_quick_is_sent_each_picture_again() -> None:
    client, pace = SimulatedClient(1.0), ReadPace()
    client.run(pace, 0, 30)
    client.each = 0.001
    client.run(pace, 30, 55)
    client.ages.clear()
    client.run(pace, 55, 65)

    assert len(client.ages) >= 280


def test_a_client_whose_pictures_do_not_leave_is_sent_fewer_up_to_a_bound() -> None:
    pace, now = ReadPace(), 0.0
    for _ in range(100):
        pace.sent(now, 0.0)
        now += pace.interval + 0.5
        pace.left(now)

    assert 0.3 < pace.interval <= MOST_INTERVAL
