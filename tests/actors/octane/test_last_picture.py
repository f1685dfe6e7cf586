"""Which picture is the last one of a pass and of a run, and when it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from actors.octane.last_picture import PictureKeeper
from router.errors import Timeout
from router.last_pictures import KeptPicture, PictureKey
from tests.waiting import eventually


class Shelf:
    """A store of pictures in memory, which may be away."""

    def __init__(self) -> None:
        self.kept: dict[PictureKey, KeptPicture] = {}
        self.writes = 0
        self.away = False

    async def keep(self, key: PictureKey, frame: Mapping[str, Any], body: bytes) -> KeptPicture:
        if self.away:
            raise Timeout("NATS is away")
        self.writes += 1
        self.kept[key] = KeptPicture(frame, body, "id", 0, 0, "etag", "key")
        return self.kept[key]

    async def find(self, key: PictureKey) -> KeptPicture | None:
        return self.kept.get(key)

    async def body(self, key: PictureKey, kept: KeptPicture) -> tuple[KeptPicture, bytes]:
        return kept, kept.body


class Desk:
    """A keeper, its store and its clock."""

    def __init__(self) -> None:
        self.shelf, self.now = Shelf(), 0.0
        self.keeper = PictureKeeper("main", self.shelf, 10.0, lambda: self.now, lambda: {"rendered_by": "Octane 15"})

    def shows(self, samples: int, level: int = 1, track: str = "beauty", time: float = 100.0) -> None:
        header = {"time": time * 1000, "samples": samples, "change_level": level, "track": track}
        self.keeper.saw(track, header, f"{track} {samples}".encode())

    def stored(self, track: str = "beauty") -> bytes | None:
        kept = self.shelf.kept.get(PictureKey.of_track("octane", "main", track))
        return kept.body if kept is not None else None


async def test_while_it_renders_a_picture_is_stored_once_in_so_many_seconds() -> None:
    desk = Desk()
    for second in range(25):
        desk.now = float(second)
        desk.shows(second)
        await desk.keeper.store_due()

    assert desk.shelf.writes == 3 and desk.stored() == b"beauty 20"
    await desk.keeper.store()
    assert desk.stored() == b"beauty 24"
    await desk.keeper.store()
    assert desk.shelf.writes == 4


async def test_what_could_not_be_stored_is_stored_the_next_time() -> None:
    desk = Desk()
    desk.shows(1)
    desk.shelf.away = True
    await desk.keeper.store()
    desk.shelf.away = False
    await desk.keeper.store()

    assert desk.stored() == b"beauty 1"


async def test_each_pass_has_a_last_picture_of_its_own_and_beauty_is_that_of_the_run() -> None:
    desk = Desk()
    desk.shows(1, track="z_depth")
    assert desk.keeper.main is not None and desk.keeper.main.body == b"z_depth 1"
    desk.shows(1)
    await desk.keeper.store()

    assert (desk.stored(), desk.stored("z_depth")) == (b"beauty 1", b"z_depth 1")
    assert desk.keeper.main.body == b"beauty 1"


async def test_tracks_are_bounded() -> None:
    desk = Desk()
    for number in range(100):
        desk.shows(1, track=f"pass-{number}")
    await desk.keeper.store()

    assert desk.shelf.writes == 32


async def test_the_final_picture_is_waited_for() -> None:
    desk = Desk()
    desk.shows(10)
    asked: list[bool] = []
    waiting = asyncio.ensure_future(desk.keeper.final(40, lambda: asked.append(True)))
    await asyncio.sleep(0)
    assert not waiting.done() and asked
    desk.shows(40)

    found = await waiting
    assert found is not None and found.body == b"beauty 40"


async def test_a_film_that_was_wiped_meanwhile_leaves_its_last_picture() -> None:
    desk = Desk()
    desk.shows(39, level=1)
    waiting = asyncio.ensure_future(desk.keeper.final(40))
    await asyncio.sleep(0)
    desk.shows(1, level=2)

    found = await waiting
    assert found is not None and found.body == b"beauty 39"


async def test_a_picture_that_does_not_come_is_waited_for_no_longer_than_that() -> None:
    desk = Desk()
    desk.shows(10)
    waiting = asyncio.ensure_future(desk.keeper.final(40))
    await asyncio.sleep(0)
    desk.now = 11.0
    found = await eventually(lambda: waiting.result() if waiting.done() else None)

    assert found is not None and found.body == b"beauty 10"


async def test_a_run_gets_a_picture_of_its_own_time_only() -> None:
    desk = Desk()
    desk.shows(10, time=100.0)
    old = desk.keeper.main

    assert await desk.keeper.keep_for_run("job", "r1", 101.0, old) is None
    kept = await desk.keeper.keep_for_run("job", "r1", 99.0, old)

    assert kept is not None and kept.header["run"] == "r1" and kept.header["rendered_by"] == "Octane 15"


async def test_an_actor_that_saw_none_takes_the_stored_picture_of_that_run() -> None:
    desk = Desk()
    desk.shows(10, time=100.0)
    await desk.keeper.store()
    after = PictureKeeper("main", desk.shelf, 10.0, lambda: 0.0, dict)

    assert await after.keep_for_run("job", "r1", 101.0, None) is None
    kept = await after.keep_for_run("job", "r1", 99.0, None)

    assert kept is not None and kept.body == b"beauty 10"
