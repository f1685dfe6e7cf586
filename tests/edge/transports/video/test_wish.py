"""What a viewer asks for becomes the nearest rung, and what cannot be is refused and changes nothing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from edge.transports.video.wish import BadWish, PictureRate, Wish


@pytest.mark.parametrize(
    ("wish", "rung"),
    [
        (Wish(), "jpeg"),
        (Wish("mp4", 480), "h264-480"),
        (Wish("h264", 1080), "h264"),
        (Wish("jpeg", 1), "jpeg-240"),
        (Wish("jpeg", 500), "jpeg-480"),
        (Wish("jpeg", 600), "jpeg-720"),
        (Wish("jpeg", 899), "jpeg-720"),
    ],
)
def test_the_nearest_rung_is_given(wish: Wish, rung: str) -> None:
    assert wish.rung.token == rung


def test_what_is_not_named_stays_and_null_takes_a_limit_away() -> None:
    assert Wish("h264", 480, 10.0).changed({"control": "prefer", "height": None}) == Wish("h264", None, 10.0)


@pytest.mark.parametrize(
    "said",
    [{"format": "gif"}, {"format": 1}, {"height": 0}, {"height": "480"}, {"height": True}, {"fps": 0}, {"fps": 1e9}],
)
def test_what_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadWish):
        Wish().changed(said)


def test_fewer_pictures_come_evenly() -> None:
    rate = PictureRate(10)

    taken = [number for number in range(60) if rate.takes(100 + number / 30)]

    assert len(taken) == 20 and {b - a for a, b in itertools.pairwise(taken)} == {3}
