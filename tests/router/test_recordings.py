"""Recordings on a real nats-server: read back to the byte, refused when they are full, and nobody else's loss."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.broker import Broker
from router.errors import Refused
from router.event import Event
from router.nats.refusals import is_full
from router.recording_entry import FINISHED, STILLS, RecordedPiece, Recording, new_recording_id
from router.recordings import Content, Recordings
from router.topology import MIB, TopologySettings
from tests.servers import serving_small
from tests.waiting import unhurried

NOW = 1_800_000_000_000.0


@pytest.fixture
async def recordings(broker: Broker) -> Recordings:
    return Recordings(broker)


def begun(camera: str, began: float = NOW, **more: object) -> Recording:
    id = new_recording_id(began / 1000)
    return Recording(id=id, camera=camera, session=id, began=began, **more)  # type: ignore[arg-type]


async def recorded(recordings: Recordings, recording: Recording, bodies: list[bytes]) -> list[int]:
    """Stores a head and a piece for each body, one a second; returns their sizes."""
    await recordings.save(recording)
    await recordings.put_head(recording, b"head of the file", [])
    at = 0
    for n, body in enumerate(bodies, 1):
        time = recording.began + 1000 * (n - 1)
        piece = RecordedPiece(n=n, at=at, size=len(body), time=time, until=time + 1000, frames=30 * n)
        await recordings.add(recording, piece, body)
        at += len(body)
    return [len(body) for body in bodies]


async def read(recordings: Recordings, content: Content, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in recordings.read(content, start, stop)])


@pytest.mark.parametrize("closed", [False, True])
async def test_every_range_of_a_file_is_the_same_bytes(recordings: Recordings, entity: str, closed: bool) -> None:
    chance = random.Random(5)
    recording = begun(entity)
    bodies = [chance.randbytes(chance.choice((1, 700, 60_000))) for _ in range(150)]
    sizes = await recorded(recordings, recording, bodies)
    if closed:
        await recordings.put_head(recording, b"head with an index", sizes)
    content = await recordings.content(recording)
    assert content is not None
    whole = content.head + b"".join(bodies)

    assert content.size == len(whole)
    assert await read(recordings, content, 0, content.size) == whole
    for _ in range(40):
        start = chance.randrange(content.size)
        stop = chance.randrange(start, content.size) + 1
        assert await read(recordings, content, start, stop) == whole[start:stop], (start, stop)
    for start, stop in ((0, 1), (content.size - 1, content.size), (len(content.head) - 1, len(content.head) + 2)):
        assert await read(recordings, content, start, stop) == whole[start:stop]


async def test_a_file_ends_with_its_last_whole_fragment(recordings: Recordings, entity: str) -> None:
    recording = begun(entity)
    await recorded(recordings, recording, [b"first", b"second"])
    for n in (3, 4):
        part = RecordedPiece(n=n, at=11 + (n - 3) * 4, size=4, time=NOW + 2000, until=NOW + 3000, frames=90, end=False)
        await recordings.add(recording, part, b"part")

    content, last = await recordings.content(recording), await recordings.last_piece(recording)

    assert content is not None and await read(recordings, content, 0, content.size) == b"head of the filefirstsecond"
    assert last is not None and (last.n, last.frames, last.until) == (2, 60, NOW + 2000)


async def test_what_is_read_while_it_grows_is_what_was_there_then(recordings: Recordings, entity: str) -> None:
    recording = begun(entity)
    await recorded(recordings, recording, [b"one"])
    content = await recordings.content(recording)
    assert content is not None
    await recordings.add(recording, RecordedPiece(n=2, at=3, size=3, time=NOW, until=NOW, frames=60), b"two")
    grown = await recordings.content(recording)

    assert await read(recordings, content, 0, content.size) == b"head of the fileone"
    assert grown is not None and grown.size == content.size + 3 and grown.etag != content.etag


async def test_the_list_is_in_order_and_by_camera_also_beyond_what_one_request_may_name(
    recordings: Recordings, broker: Broker, entity: str
) -> None:
    for number in range(1030):
        recording = begun(entity, NOW - 1000 * number)
        await recordings.save(recording)
    other = begun(f"{entity}-2", NOW + 5)
    await recordings.save(other)

    listed = await recordings.listing(entity)
    everything = await recordings.listing()

    assert len(listed) == 1030 and [each.began for each in listed] == sorted(each.began for each in listed)
    assert {each.camera for each in listed} == {entity}
    assert other.id in {each.id for each in everything}
    assert (await recordings.find(other.id)) == other


async def test_a_deleted_recording_is_gone_and_another_one_stays(recordings: Recordings, entity: str) -> None:
    gone, kept = begun(entity), begun(entity)
    await recorded(recordings, gone, [b"one", b"two"])
    await recorded(recordings, kept, [b"one"])
    content = await recordings.content(gone)
    assert content is not None

    assert await recordings.delete(gone) == 4

    assert await recordings.find(gone.id) is None and await recordings.content(gone) is None
    assert await read(recordings, content, 0, content.size) == content.head
    assert await recordings.find(kept.id) == kept and await recordings.content(kept) is not None


async def test_stills_are_pieces_without_a_head(recordings: Recordings, entity: str) -> None:
    recording = begun(entity, kind=STILLS, every=10.0, status=FINISHED)
    await recordings.save(recording)
    await recordings.add(recording, RecordedPiece(n=1, at=0, size=4, time=NOW, until=NOW, frames=1), b"jpeg")

    found = await recordings.still(recording, 1)

    assert found is not None and (found.body, found.piece.time) == (b"jpeg", NOW)
    assert await recordings.still(recording, 2) is None and await recordings.content(recording) is None


async def test_a_still_that_is_larger_than_a_message_is_read_back_to_the_byte(small: Broker, entity: str) -> None:
    recordings, recording = Recordings(small), begun(entity, kind=STILLS, every=10.0)
    body = random.Random(3).randbytes(1_000_000)
    await recordings.save(recording)
    for n in (1, 2):
        piece = RecordedPiece(n=n, at=0, size=len(body), time=NOW + n, until=NOW + n, frames=n)
        await recordings.add_still(recording, piece, body if n == 1 else b"small")

    found, next_one = await recordings.still(recording, 1), await recordings.still(recording, 2)
    last = await recordings.last_piece(recording)

    assert found is not None and found.body == body and found.piece.time == NOW + 1
    assert next_one is not None and next_one.body == b"small"
    assert last is not None and (last.n, last.frames) == (2, 2)
    await recordings.delete(recording)
    assert (await recordings.usage()).used == 0


async def test_a_large_still_that_does_not_fit_leaves_nothing_behind(small: Broker, entity: str) -> None:
    recordings, recording = Recordings(small), begun(entity, kind=STILLS, every=10.0)
    await recordings.save(recording)
    piece = RecordedPiece(n=1, at=0, size=3 * MIB, time=NOW, until=NOW, frames=1)
    with pytest.raises(Refused):
        await recordings.add_still(recording, piece, bytes(3 * MIB))

    assert (await recordings.usage()).used < 10_000 and await recordings.still(recording, 1) is None


async def test_the_last_piece_is_known_while_the_file_is_being_closed(recordings: Recordings, entity: str) -> None:
    recording = begun(entity)
    sizes = await recorded(recordings, recording, [b"one", b"two"])
    await recordings.put_head(recording, b"head with an index", sizes)

    last = await recordings.last_piece(recording)

    assert last is not None and last.n == 2


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Broker]:
    with serving_small(tmp_path, 256 * 1024) as server:
        settings = TopologySettings(recordings_max_bytes=2 * MIB)
        async with Broker(unhurried(server.url), "test", settings) as opened:
            yield opened


async def test_a_full_stream_refuses_pieces_and_takes_events_all_the_same(small: Broker, entity: str) -> None:
    recordings, recording = Recordings(small), begun(entity)
    await recordings.save(recording)
    size = recordings.largest_piece
    stored = 0
    with pytest.raises(Refused) as refused:
        while stored < 100:
            n = stored + 1
            piece = RecordedPiece(n=n, at=stored * size, size=size, time=NOW, until=NOW + n, frames=n)
            await recordings.add(recording, piece, bytes(size))
            stored = n

    assert is_full(refused.value) and stored >= 6
    usage = await recordings.usage()
    assert usage.limit == 2 * MIB and usage.free is not None and usage.free < size + 1000
    last = await recordings.last_piece(recording)
    assert last is not None and last.n == stored
    await small.publish(Event.new(f"camera.{entity}.recording", {"what": "failed", "reason": "quota"}, source="test"))
    # There is room again once something is deleted.
    await recordings.delete(recording)
    await recordings.save(recording)
