from __future__ import annotations

import logging

import pytest

from actors.camera.renditions.watched import WatchedRungs
from router.cluster.leases import Viewers, view_key
from router.rungs import JPEG, Rung


def watched(*leases: tuple[str, ...]) -> WatchedRungs:
    viewers = Viewers("camera", "main")
    for number, what in enumerate(leases):
        viewers.saw(view_key("camera", "main", f"edge-{number}", *what), 1e9)
    return WatchedRungs(viewers)


def test_each_lease_names_a_rung_and_one_without_a_name_is_jpeg() -> None:
    assert watched((), ("h264",), ("jpeg-480",), ("h264",)).counts() == {JPEG: 1, Rung("h264"): 2, Rung("jpeg", 480): 1}


def test_a_lease_of_an_unknown_rung_is_logged_once_and_wakes_no_camera(caplog: pytest.LogCaptureFixture) -> None:
    rungs = watched(("jpeg-9999",), ("h264-480", "more"))
    with caplog.at_level(logging.WARNING):
        assert rungs.counts() == {Rung("h264", 480): 1}
        rungs.counts()
    assert len(caplog.records) == 1
    assert not watched(("webp",)).counts()
