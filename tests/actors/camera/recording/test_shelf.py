"""What an earlier process left open is closed with what is stored of it, and what has come of age goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest

from actors.camera.recording.shelf import RecordingShelf
from router.broker import Broker
from router.errors import Refused
from router.recording_entry import RecordedPiece, Recording, new_recording_id
from router.recordings import Recordings
from router.topology import MIB, TopologySettings
from tests.actors.camera.recording.test_file import begun, headers
from tests.servers import serving_small
from tests.waiting import unhurried


async def test_a_file_that_was_left_open_gets_its_index(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity)
    for header, body in headers(60):
        file.add(header, body)
    file.flush()
    assert await queue.drain(20)
    recordings = Recordings(broker)
    shelf = RecordingShelf(recordings, entity, 0)

    (entry,) = await shelf.left_open()
    assert await shelf.close_interrupted(entry)

    assert await shelf.left_open() == []
    content = await recordings.content(entry)
    assert content is not None and (entry.status, entry.frames, content.size) == ("interrupted", 60, entry.bytes)
    whole = b"".join([chunk async for chunk in recordings.read(content, 0, content.size)])
    assert b"sidx" in whole[: len(content.head)]
    with av.open(_file(whole)) as film:
        assert film.duration == 2_400_000 and sum(1 for _ in film.decode(video=0)) == 60


async def test_one_without_a_picture_is_deleted(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity)
    file.save()
    assert await queue.drain(20)
    shelf = RecordingShelf(Recordings(broker), entity, 0)
    (entry,) = await shelf.left_open()

    assert not await shelf.close_interrupted(entry)
    assert await shelf.recordings.find(entry.id) is None


@pytest.mark.parametrize(("days", "gone"), [(0, 0), (1, 1), (3, 0)])
async def test_recordings_go_when_they_have_come_of_age(broker: Broker, entity: str, days: int, gone: int) -> None:
    file, _ = begun(broker, entity)
    file.entry.began = (time.time() - 2 * 86400) * 1000
    file.close("finished", None)
    await file.write_end()
    shelf = RecordingShelf(Recordings(broker), entity, days * 86400.0)

    told: list[Recording] = []
    shelf.on_deleted = told.append
    await shelf.prune()

    assert [each.reason for each in told] == ["age"] * gone
    assert (await shelf.recordings.find(file.entry.id) is None) is bool(gone)


async def test_a_file_whose_process_died_while_it_wrote_the_end_is_closed_and_not_deleted(
    broker: Broker, entity: str
) -> None:
    file, queue = begun(broker, entity)
    for header, body in headers(60):
        file.add(header, body)
    file.flush()
    assert await queue.drain(20)
    file.close("finished", None)
    # The index is stored, the entry no more.
    await file._recordings.put_head(file.entry, file.indexed_head(), list(file._sizes))
    shelf = RecordingShelf(Recordings(broker), entity, 0)
    (entry,) = await shelf.left_open()

    assert await shelf.close_interrupted(entry)

    assert (entry.status, entry.frames) == ("interrupted", 60)


async def filled(recordings: Recordings, entry: Recording, mib: float, size: int = 128 * 1024) -> None:
    """Stores an entry with so many MiB behind it."""
    await recordings.put_head(entry, b"head", [])
    for n in range(1, int(mib * MIB / size) + 1):
        piece = RecordedPiece(n=n, at=(n - 1) * size, size=size, time=entry.began, until=entry.began + n, frames=n)
        await recordings.add(entry, piece, bytes(size))
    entry.bytes = int(mib * MIB)
    await recordings.save(entry)


def made(camera: str, began: float, **more: object) -> Recording:
    id = new_recording_id(began / 1000)
    return Recording(id=id, camera=camera, session=id, began=began, **more)  # type: ignore[arg-type]


async def test_only_the_oldest_that_may_be_overwritten_give_way_of_whichever_camera(small: Broker) -> None:
    recordings, now = Recordings(small), time.time() * 1000
    told: list[Recording] = []
    asked = made("door", now - 9000, status="finished")
    old = made("hall", now - 8000, status="finished", continuous=True, overwritable=True)
    goes_on = made("yard", now - 7000, continuous=True, overwritable=True)
    newer = made("hall", now - 6000, status="finished", continuous=True, overwritable=True)
    # Of 4 MiB two reserves of 1 MiB shall be free.
    for entry, mib in ((asked, 0.25), (old, 1.25), (goes_on, 0.5), (newer, 1)):
        await filled(recordings, entry, mib)
    shelf = RecordingShelf(recordings, "main", 0)
    shelf.on_deleted = told.append

    await shelf.check_room()
    await shelf.check_room()

    assert {each.id for each in await recordings.listing()} == {asked.id, goes_on.id, newer.id}
    assert [(each.camera, each.id, each.reason) for each in told] == [("hall", old.id, "overwritten")]


async def test_a_file_that_was_left_open_in_a_full_store_is_closed_without_its_end(small: Broker) -> None:
    recordings = Recordings(small)
    entry = made("main", time.time() * 1000, kind="stills")
    await recordings.save(entry)
    await filled(recordings, entry, 3.0)
    with pytest.raises(Refused):
        for n in range(25, 200):
            piece = RecordedPiece(n=n, at=0, size=40_000, time=entry.began, until=entry.began + n, frames=n)
            await recordings.add(entry, piece, bytes(40_000))
    with pytest.raises(Refused):
        for n in range(200, 20_000):
            await recordings.save(made("main", entry.began + n, status="finished", label="x" * 200))
    shelf = RecordingShelf(recordings, "main", 0)

    (left,) = await shelf.left_open()
    assert await shelf.close_interrupted(left)

    found = await recordings.find(entry.id)
    assert found is not None and found.status == "interrupted" and found.frames >= 24


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Broker]:
    with serving_small(tmp_path, 256 * 1024) as server:
        settings = TopologySettings(recordings_max_bytes=4 * MIB)
        async with Broker(unhurried(server.url), "test", settings) as opened:
            yield opened


def _file(whole: bytes):  # type: ignore[no-untyped-def]
    from io import BytesIO

    return BytesIO(whole)
