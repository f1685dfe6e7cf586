"""Tests of router/cluster/departures.py."""

from __future__ import annotations

from router.cluster.departures import Departures


def test_all_who_wait_are_told() -> None:
    departures, told = Departures(), []
    departures.on_departure(lambda: told.append("fan-out"))
    departures.on_departure(lambda: told.append("redrives"))

    departures.tell()

    assert told == ["fan-out", "redrives"]
