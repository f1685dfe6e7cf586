"""A client of the benchmark tells new pictures from repeats and from old ones."""

from __future__ import annotations

import asyncio

from ops.bench.camera_viewers import ViewerLog


def test_pictures_that_are_not_newer_are_counted_and_repeats_are_not() -> None:
    log = ViewerLog("quick", asyncio.Event())
    for life, seq, fresh in ((1, 5, True), (1, 6, True), (1, 6, False), (1, 6, True), (1, 4, True), (2, 0, True)):
        log.take({"life": life, "seq": seq, "fresh": fresh, "time": 0.0}, 10)

    assert log.stale == 2
