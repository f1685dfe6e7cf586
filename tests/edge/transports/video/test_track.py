"""A track gives its viewers pictures in order, and one that joins the pictures since the last key."""

from __future__ import annotations

from edge.transports.video.track import PacketTrack, Track
from edge.transports.video.viewer import MOST_WAITING, RungViewer
from tests.edge.transports.video.test_viewer import packet, picture


class AskedTrack(PacketTrack):
    """A track that counts how often it needs a key."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__("frame.camera.one.h264", self._count)

    def _count(self) -> None:
        self.asked += 1


def join(track: Track) -> RungViewer:
    viewer = track.viewer()
    track.viewers.add(viewer)
    return viewer


def taken(viewer: RungViewer) -> list[int]:
    found = []
    while (frame := viewer.take()) is not None:
        found.append(frame.header["seq"])
    return found


async def test_pictures_of_a_replaced_actor_are_not_shown() -> None:
    track = Track("frame.camera.one")
    viewer = join(track)
    track.show(picture(1, life=2))
    assert taken(viewer) == [1]

    track.show(picture(900, life=1))

    assert taken(viewer) == [] and viewer.dropped == {"old": 1}


async def test_who_joins_is_shown_nothing_older_than_others_were() -> None:
    track = Track("frame.camera.one")
    first = join(track)
    track.show(picture(7, life=2))
    assert taken(first) == [7]
    late, seen = join(track), list[int]()

    for number, life in ((900, 1), (6, 2), (7, 2), (8, 2)):
        track.show(picture(number, life=life))
        seen += taken(late)

    assert seen == taken(first) == [8]


async def test_who_joins_begins_with_the_pictures_since_the_last_key() -> None:
    track = AskedTrack()
    first = join(track)
    assert track.asked == 1
    for number in range(6):
        track.show(packet(number, key=number in (0, 4)))

    assert taken(first) == [0, 1, 2, 3, 4, 5]
    assert taken(join(track)) == [4, 5] and track.asked == 1


async def test_a_gap_asks_for_a_key_and_nothing_is_shown_before_it() -> None:
    track = AskedTrack()
    viewer = join(track)
    for number in (0, 1, 3, 4):
        track.show(packet(number, key=number == 0))

    assert taken(viewer) == [] and track.asked > 1
    assert taken(join(track)) == []
    track.show(packet(5, key=True))
    assert taken(viewer) == [5]


async def test_a_packet_that_comes_twice_or_late_is_shown_once() -> None:
    track = AskedTrack()
    viewer = join(track)

    for number in (0, 1, 1, 0, 2):
        track.show(packet(number, key=number == 0))

    assert taken(viewer) == [0, 1, 2]


async def test_what_is_kept_for_who_joins_is_bounded() -> None:
    track = AskedTrack()

    for number in range(MOST_WAITING + 2):
        track.show(packet(number, key=number == 0))

    assert len(track._since_key) <= MOST_WAITING and track.asked
