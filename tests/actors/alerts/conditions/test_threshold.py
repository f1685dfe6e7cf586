"""So many matches within a time."""

from __future__ import annotations

from tests.actors.alerts.readings import HOT, START, S, reading
from tests.actors.alerts.test_engine import engine


def test_the_match_that_makes_the_count_fires_and_matches_outside_of_the_time_do_not_count() -> None:
    alerts = engine(HOT + "    threshold: {count: 3, within: 10}\n")

    fired = [signal for at in (0, 4, 11, 15, 16) for signal in alerts.process(reading(90, at))]

    assert [(each.kind, each.at, each.count) for each in fired] == [("firing", START + 16 * S, 3)]
