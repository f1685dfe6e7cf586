"""What an earlier process left open is closed with what is stored of it, and what has come of age goes."""

from __future__ import annotations

import time

import av
import pytest

from actors.camera.recording.shelf import RecordingShelf
from router.broker import Broker
from router.recordings import Recordings
from tests.actors.camera.recording.test_file import begun, headers


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

    assert len(await shelf.prune()) == gone
    assert (await shelf.recordings.find(file.entry.id) is None) is bool(gone)


def _file(whole: bytes):  # type: ignore[no-untyped-def]
    from io import BytesIO

    return BytesIO(whole)
