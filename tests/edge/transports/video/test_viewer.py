"""A viewer is given the newest picture, or the pictures since a key in order, and never one older than what it was given."""

from __future__ import annotations

import asyncio
from typing import Any

from edge.transports.video.frame import Frame
from edge.transports.video.viewer import PacketViewer, Viewer
from router.frame import pack


def picture(seq: int, life: int = 1, **more: Any) -> Frame:
    return Frame(pack({"seq": seq, "life": life, "time": 1.5, "format": "jpeg", **more}, b"\xff\xd8\xff\xd9"))


def packet(number: int, key: bool = False) -> Frame:
    return picture(number, format="h264", packet=number, key=key)


async def test_a_viewer_that_is_slow_gets_the_newest_frame_only() -> None:
    viewer, frames = Viewer(), [picture(n) for n in range(3)]

    for frame in frames:
        viewer.offer(frame)

    assert await viewer.next() is frames[2] and viewer.dropped == {"slow": 2}


async def test_next_waits_for_a_picture() -> None:
    viewer, frame = Viewer(), picture(1)
    asking = asyncio.ensure_future(viewer.next())
    await asyncio.sleep(0)

    viewer.offer(frame)

    assert await asking is frame


def test_nothing_older_than_what_was_given_is_given() -> None:
    viewer = Viewer()
    viewer.offer(picture(7, life=2))
    assert viewer.take() is not None

    for older in (picture(6, life=2), picture(7, life=2), picture(9, life=1)):
        viewer.offer(older)

    assert viewer.take() is None and viewer.dropped == {"old": 3}


def test_a_repeat_of_the_newest_is_given_and_one_of_a_picture_that_still_waits_is_not() -> None:
    viewer, frame, again = Viewer(), picture(7), picture(7, fresh=False)
    viewer.offer(frame)
    viewer.offer(again)

    assert viewer.take() is frame
    viewer.offer(again)
    viewer.offer(picture(8))

    assert viewer.take() is not again and viewer.dropped == {}


def test_an_actor_that_was_restarted_counts_anew() -> None:
    viewer, anew = Viewer(), picture(0, life=2)
    viewer.offer(picture(500, life=1))
    viewer.take()

    viewer.offer(anew)

    assert viewer.take() is anew


def taken(viewer: PacketViewer) -> list[int]:
    found = []
    while (frame := viewer.take()) is not None:
        found.append(frame.header["packet"])
    return found


def test_packets_come_in_order_from_the_last_key() -> None:
    viewer = PacketViewer([packet(4, key=True), packet(5)])
    viewer.offer(packet(6), 0.0)

    assert taken(viewer) == [4, 5, 6] and viewer.dropped == {}


def test_a_viewer_that_begins_without_a_key_waits_for_one_and_misses_nothing() -> None:
    viewer = PacketViewer()
    for frame in (packet(5), packet(6, key=True), packet(7)):
        viewer.offer(frame, 0.0)

    assert taken(viewer) == [6, 7] and viewer.dropped == {}


def test_after_a_loss_the_next_key_comes_next() -> None:
    viewer = PacketViewer([packet(4, key=True)])
    assert taken(viewer) == [4]

    viewer.offer(packet(5), 0.0)
    viewer.miss()
    for frame in (packet(7), packet(8, key=True), packet(9)):
        viewer.offer(frame, 0.0)

    assert taken(viewer) == [8, 9] and viewer.dropped == {"gap": 2}


def test_a_viewer_that_falls_behind_goes_on_at_the_next_key() -> None:
    viewer = PacketViewer()
    for number in range(20):
        viewer.offer(packet(number, key=number == 0), number / 30)
    assert not viewer.waiting

    viewer.offer(packet(20, key=True), 20 / 30)

    assert taken(viewer) == [20] and viewer.dropped == {"behind": 20}


def test_what_waits_for_a_viewer_is_bounded() -> None:
    viewer = PacketViewer()
    viewer.offer(packet(0, key=True), 0.0)

    for number in range(1, 700):
        viewer.offer(packet(number), 0.0)

    assert viewer.dropped["behind"] == 700
