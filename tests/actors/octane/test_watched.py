"""The leases of viewers say which renditions of which tracks are made."""

from __future__ import annotations

import logging

from actors.octane import watched
from actors.octane.watched import WatchedRenditions
from router.cluster.leases import Viewers, view_key
from router.rendition import DEFAULT, Rendition


def watched_by(*whats: tuple[str, ...]) -> WatchedRenditions:
    viewers = Viewers("octane", "main")
    for number, what in enumerate(whats):
        viewers.saw(view_key("octane", "main", f"edge-{number}", *what), 60)
    return WatchedRenditions(viewers)


def test_renditions_are_listed_by_track_each_once():
    found = watched_by(("beauty", "png-64"), ("z_depth", "webp"), ("beauty", "png-64"), ("beauty", DEFAULT.token))

    assert found.some
    assert found.by_track() == {
        "beauty": [Rendition("png", 64, None), DEFAULT],
        "z_depth": [Rendition("webp", None, None)],
    }


def test_a_lease_that_names_nothing_wants_the_beauty_pass_as_it_always_was():
    assert watched_by(()).by_track() == {"beauty": [DEFAULT]}


def test_a_lease_that_makes_no_sense_counts_as_a_viewer_of_nothing():
    found = watched_by(("beauty", "gif"), ("beauty",), ("a", "b", "c"))

    assert found.some and found.by_track() == {}


def test_nobody_watches_nothing():
    assert not watched_by().some and watched_by().by_track() == {}


def test_who_came_first_is_served_and_the_rest_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(watched, "MAX_RENDITIONS", 2)
    found = watched_by(("beauty", "png"), ("z_depth", "png"), ("z_depth", "webp"))

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert found.by_track() == {
                "beauty": [Rendition("png", None, None)],
                "z_depth": [Rendition("png", None, None)],
            }

    assert len(caplog.records) == 1 and caplog.records[0].watched == 3
