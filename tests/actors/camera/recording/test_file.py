"""One file: it begins with a key, breaks off where a picture is missing, and ends with an index."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import av

from actors.camera.recording.file import RecordingFile
from actors.camera.recording.writes import PendingWrite, WriteQueue
from router.broker import Broker
from router.errors import Refused
from router.recording_entry import Recording, new_recording_id
from router.recordings import Recordings
from tests.actors.camera.recording.test_fragments import BEGAN, film


async def _refused(write: PendingWrite, refusal: Refused) -> None:
    raise AssertionError(str(refusal))


def begun(broker: Broker, camera: str, most: int = 10**9) -> tuple[RecordingFile, WriteQueue]:
    queue, id = WriteQueue(_refused, most), new_recording_id()
    return RecordingFile(Recording(id=id, camera=camera, session=id, began=BEGAN), Recordings(broker), queue), queue


def headers(count: int, **more: Any) -> list[tuple[dict[str, Any], bytes]]:
    pictures = film([BEGAN + 40.0 * number for number in range(count)], every=25)
    return [
        ({"time": time, "key": key, "width": 64, "height": 48, "packet": number, **more}, body)
        for number, (time, key, body) in enumerate(pictures)
    ]


async def shown(file: RecordingFile, queue: WriteQueue, broker: Broker) -> list[float]:
    """The times of the pictures of a closed file, in ms."""
    file.flush()
    file.close("finished", None)
    assert await queue.drain(20)
    await file.write_end()
    recordings = Recordings(broker)
    content = await recordings.content(file.entry)
    assert content is not None and content.size == file.entry.bytes
    data = b"".join([chunk async for chunk in recordings.read(content, 0, content.size)])
    with av.open(BytesIO(data)) as container:
        found = [round(float(frame.pts * frame.time_base * 1000)) for frame in container.decode(video=0)]
    assert len(found) == file.entry.frames
    return found


async def test_it_begins_with_a_key(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity)
    for header, body in headers(60)[10:]:
        file.add(header, body)

    assert file.entry.began == BEGAN + 25 * 40 and file.entry.lost == 0
    assert await shown(file, queue, broker) == [40 * number for number in range(35)]


async def test_where_a_picture_is_missing_it_goes_on_with_the_next_key(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity)
    for header, body in headers(60):
        if header["packet"] != 12:
            file.add(header, body)
        if header["packet"] == 20:
            assert file.needs_key

    assert file.entry.lost == 12
    assert await shown(file, queue, broker) == [40 * number for number in (*range(12), *range(25, 60))]


async def test_what_does_not_fit_into_memory_is_counted_and_the_rest_plays(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity, most=2600)
    pictures = headers(100)
    for header, body in pictures[:70]:
        file.add(header, body)
    # The store was away; now it is back.
    assert await queue.drain(20)
    for header, body in pictures[70:]:
        file.add(header, body)

    times = await shown(file, queue, broker)
    assert 0 < file.entry.lost < 100 and len(times) == 100 - file.entry.lost
    assert times[0] == 0 and times[-1] == 99 * 40


async def test_another_size_needs_another_file(broker: Broker, entity: str) -> None:
    file, _ = begun(broker, entity)
    header, body = headers(1)[0]
    assert file.fits(header, body)
    file.add(header, body)

    assert file.fits(header, body) and not file.fits({**header, "width": 128}, body)
    assert not file.fits(header, body.replace(b"\x67", b"\x67", 1)[:5] + bytes((body[5] ^ 1,)) + body[6:])
    assert file.fits({**header, "width": 128, "key": False}, body)


async def test_fragments_that_were_refused_are_no_part_of_it(broker: Broker, entity: str) -> None:
    file, queue = begun(broker, entity)
    for header, body in headers(75):
        file.add(header, body)
    assert await queue.drain(20)
    file.flush()
    file.trim(5)

    assert file.entry.lost == 25
    assert await shown(file, queue, broker) == [40 * number for number in range(50)]
