"""Recordings over HTTP: listed by rights and time, downloaded in ranges from any edge, deleted by who may command the camera."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.broker import Broker
from router.cluster.leases import lease_key
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.recording_entry import FAILED, FINISHED, STILLS, RecordedPiece, Recording, new_recording_id
from router.recordings import Recordings
from router.topology import LEASES
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory
from tests.edge.conftest import EdgeFactory, RunningEdge

HEAD = b"ftyp and moov"
BODIES = [bytes([n]) * (1000 + n) for n in range(20)]
FILE = HEAD + b"".join(BODIES)


async def recorded(
    broker: Broker,
    camera: str,
    *,
    ago: float = 3600.0,
    closed: bool = True,
    bodies: Sequence[bytes] = BODIES,
    **more: Any,
) -> Recording:
    """A recording of 20 s that began some seconds ago."""
    began = float(round((time.time() - ago) * 1000))
    id, recordings = new_recording_id(began / 1000), Recordings(broker)
    fields = {"width": 64, "height": 48, "codec": "avc1.64000a", "source": "sim:card", "simulated": True, **more}
    recording = Recording(id=id, camera=camera, session=id, began=began, **fields)
    await recordings.save(recording)
    await recordings.put_head(recording, HEAD, [])
    at = 0
    for n, body in enumerate(bodies, 1):
        moment = began + 1000 * (n - 1)
        piece = RecordedPiece(n=n, at=at, size=len(body), time=moment, until=moment + 1000, frames=30 * n)
        await recordings.add(recording, piece, body)
        at += len(body)
    if closed:
        await recordings.put_head(recording, HEAD, [len(body) for body in bodies])
        recording.status = FINISHED
        recording.ended, recording.frames, recording.bytes = began + 20_000, 600, len(FILE)
        await recordings.save(recording)
    return recording


def text(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


@pytest.fixture
async def secure_edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    async with secured() as running:
        yield running


async def test_the_list_says_of_each_when_it_was_and_how_large_it_is(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity, label="night shift", started_by="rule dark")

    answer = (await edge.http.get("/recordings", params={"camera": entity})).json()

    (listed,) = answer["recordings"]
    assert listed["id"] == recording.id and listed["camera"] == entity and listed["kind"] == "video"
    assert listed["status"] == "finished" and listed["duration"] == 20.0 and listed["frames"] == 600
    assert listed["bytes"] == len(FILE) and listed["label"] == "night shift" and listed["started_by"] == "rule dark"
    assert datetime.fromisoformat(listed["began"]).timestamp() * 1000 == recording.began
    assert listed["url"] == f"/recordings/{recording.id}.mp4" and listed["simulated"] is True
    assert answer["total"] == 1 and answer["bytes_used"] >= len(FILE) and answer["bytes_limit"] > answer["bytes_used"]
    assert (await edge.http.get(f"/recordings/{recording.id}")).json() == listed


async def test_a_time_line_asks_for_what_overlaps_its_window(edge: RunningEdge, broker: Broker, entity: str) -> None:
    early = await recorded(broker, entity, ago=7200)
    late = await recorded(broker, entity, ago=3600)

    async def listed(**window: Any) -> list[str]:
        answer = await edge.http.get("/recordings", params={"camera": entity, **window})
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["recordings"]]

    assert await listed() == [early.id, late.id]
    assert await listed(since=text(early.began + 10_000)) == [early.id, late.id]
    assert await listed(since=text(early.began + 20_000)) == [late.id]
    assert await listed(until=text(late.began)) == [early.id]
    assert await listed(until=text(late.began + 1)) == [early.id, late.id]
    assert await listed(limit=1) == [late.id]
    assert await listed(kind="stills") == []
    for wrong in ({"since": "yesterday"}, {"limit": 0}, {"kind": "film"}, {"since": "2026-11-27T07:00:00"}):
        refused = await edge.http.get("/recordings", params=wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_parameter"), wrong


async def test_a_file_is_downloaded_whole_and_in_ranges(edge: RunningEdge, broker: Broker, entity: str) -> None:
    recording = await recorded(broker, entity)
    address = f"/recordings/{recording.id}.mp4"

    whole = await edge.http.get(address)

    assert whole.status_code == 200 and whole.content == FILE
    assert whole.headers["content-type"] == 'video/mp4; codecs="avc1.64000a"'
    assert whole.headers["accept-ranges"] == "bytes" and whole.headers["content-length"] == str(len(FILE))
    began = datetime.fromtimestamp(recording.began / 1000, UTC)
    assert f'{began:%Y%m%dT%H%M%SZ}.mp4"' in whole.headers["content-disposition"]
    for said, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=1005-3010", 1005, 3011),
        ("bytes=-40", len(FILE) - 40, None),
    ):
        part = await edge.http.get(address, headers={"Range": said})
        assert part.status_code == 206 and part.content == FILE[start:stop], said
        last = (stop or len(FILE)) - 1
        assert part.headers["content-range"] == f"bytes {start}-{last}/{len(FILE)}"
    resumed = await edge.http.get(address, headers={"Range": "bytes=500-", "If-Range": whole.headers["etag"]})
    assert resumed.status_code == 206 and resumed.content == FILE[500:]
    changed = await edge.http.get(address, headers={"Range": "bytes=500-", "If-Range": '"other"'})
    assert changed.status_code == 200 and changed.content == FILE
    assert (await edge.http.get(address, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304


@pytest.mark.parametrize(
    ("said", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(FILE)),
        ("bytes=12-13", 12, 14),
        (f"bytes={len(FILE) - 1}-", len(FILE) - 1, len(FILE)),
        (f"bytes={len(FILE) - 1}-{len(FILE) + 99}", len(FILE) - 1, len(FILE)),
        (f"bytes=-{len(FILE) + 1}", 0, len(FILE)),
        ("bytes=-1", len(FILE) - 1, len(FILE)),
        # Several ranges, and what is no range of bytes, bring the whole.
        ("bytes=0-1,4-5", None, None),
        ("bytes=9-3", None, None),
        ("lines=1-2", None, None),
    ],
)
async def test_a_range_at_an_edge_of_the_file_is_answered_to_the_byte(
    edge: RunningEdge, broker: Broker, entity: str, said: str, start: int | None, stop: int | None
) -> None:
    recording = await recorded(broker, entity)
    address = f"/recordings/{recording.id}.mp4"

    answer, head = [await edge.http.request(way, address, headers={"Range": said}) for way in ("GET", "HEAD")]

    assert answer.status_code == head.status_code == (200 if start is None else 206)
    assert answer.content == FILE[start:stop]
    for name in ("content-length", "content-range", "etag"):
        assert answer.headers.get(name) == head.headers.get(name), name


@pytest.mark.slow
async def test_a_download_of_what_is_deleted_meanwhile_breaks_off_and_is_no_shorter_file(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity, bodies=[bytes(4 << 20)] * 12)
    address = f"/recordings/{recording.id}.mp4"
    got = 0
    async with edge.http.stream("GET", address) as answer:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            async for chunk in answer.aiter_bytes(65536):
                if not got:
                    assert (await edge.http.delete(f"/recordings/{recording.id}")).status_code == 204
                got += len(chunk)

    assert 0 < got < int(answer.headers["content-length"])
    # A player that asks for the next range, and who deletes it again, are told that it is gone.
    for way, path in (("GET", address), ("HEAD", address), ("DELETE", f"/recordings/{recording.id}")):
        assert (await edge.http.request(way, path, headers={"Range": "bytes=5000-"})).status_code == 404


@pytest.mark.slow
async def test_a_download_while_it_is_recorded_is_what_was_stored_when_it_began(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    bodies = [bytes([n]) * (4 << 20) for n in range(12)]
    recording = await recorded(broker, entity, ago=21.0, closed=False, bodies=bodies)
    recordings, address = Recordings(broker), f"/recordings/{recording.id}.mp4"
    got = b""
    async with edge.http.stream("GET", address) as answer:
        async for chunk in answer.aiter_bytes(65536):
            if not got:
                # Meanwhile it goes on, and is closed: its head then has an index, and is longer.
                more = RecordedPiece(
                    n=13, at=12 * (4 << 20), size=4, time=recording.began, until=recording.began + 13e3, frames=390
                )
                await recordings.add(recording, more, b"more")
                await recordings.put_head(recording, HEAD + b" and sidx", [*map(len, bodies), 4])
            got += chunk

    assert got == HEAD + b"".join(bodies)
    # Its rest has other bytes: who resumes gets the new file whole.
    resumption = {"Range": f"bytes={len(got)}-", "If-Range": answer.headers["etag"]}
    resumed = await edge.http.head(address, headers=resumption)
    assert resumed.status_code == 200 and int(resumed.headers["content-length"]) == len(got) + len(" and sidx") + 4


@pytest.mark.slow
async def test_a_still_that_is_larger_than_a_message_is_sent_whole(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    began = (time.time() - 60) * 1000
    id, recordings = new_recording_id(), Recordings(broker)
    recording = Recording(id=id, camera=entity, session=id, began=began, kind=STILLS, status=FINISHED, frames=1)
    body = b"\xff\xd8" + random.Random(2).randbytes(20 << 20)
    await recordings.save(recording)
    piece = RecordedPiece(n=1, at=0, size=len(body), time=began, until=began, frames=1)
    await recordings.add_still(recording, piece, body)

    still = await edge.http.get(f"/recordings/{id}/1.jpg")

    assert (still.status_code, still.headers["content-length"]) == (200, str(len(body))) and still.content == body
    assert (await edge.http.delete(f"/recordings/{id}")).status_code == 204


@pytest.mark.slow
async def test_a_server_without_storage_for_recordings_lists_none(edge_factory: EdgeFactory, tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="4GB"))
    await server.start()
    try:
        async with edge_factory(nats=server.url) as edge:
            listed = await edge.http.get("/recordings")
            assert listed.json() == {"recordings": [], "total": 0, "bytes_used": 0, "bytes_limit": 0}
            missing = await edge.http.get("/recordings/20261127T074512-0a1b2c3d.mp4")
            assert (missing.status_code, missing.json()["code"]) == (404, "recording_not_found")
            assert (await edge.http.get("/readyz")).status_code == 200
    finally:
        await server.stop()


async def test_a_range_behind_the_end_is_a_416_that_says_the_size(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity)

    answer = await edge.http.get(f"/recordings/{recording.id}.mp4", headers={"Range": f"bytes={len(FILE)}-"})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(FILE)}"


async def test_head_says_what_get_would_without_the_bytes(edge: RunningEdge, broker: Broker, entity: str) -> None:
    recording = await recorded(broker, entity)
    address = f"/recordings/{recording.id}.mp4"

    said = await edge.http.head(address)
    part = await edge.http.head(address, headers={"Range": "bytes=10-19"})

    assert (said.status_code, said.content, said.headers["content-length"]) == (200, b"", str(len(FILE)))
    assert (part.status_code, part.headers["content-length"]) == (206, "10")
    assert said.headers["etag"] == (await edge.http.get(address)).headers["etag"]


async def test_another_edge_goes_on_with_a_download(
    edge: RunningEdge, edge_factory: EdgeFactory, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity)
    address = f"/recordings/{recording.id}.mp4"
    begun = await edge.http.get(address, headers={"Range": "bytes=0-9999"})

    async with edge_factory() as other:
        resumption = {"Range": "bytes=10000-", "If-Range": begun.headers["etag"]}
        rest = await other.http.get(address, headers=resumption)

    assert rest.status_code == 206 and begun.content + rest.content == FILE


async def test_a_recording_that_goes_on_is_as_long_as_what_is_stored(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity, ago=21.0, closed=False, until=(time.time() + 600) * 1000)
    (listed,) = (await edge.http.get("/recordings", params={"camera": entity})).json()["recordings"]

    assert listed["status"] == "recording" and listed["duration"] == 20.0 and listed["frames"] == 600
    assert (await edge.http.get(f"/recordings/{recording.id}.mp4")).content == FILE
    refused = await edge.http.delete(f"/recordings/{recording.id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "recording_open")


async def test_one_whose_camera_has_no_process_is_interrupted_and_may_be_deleted(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity, ago=600, closed=False)
    leases, key = Bucket(broker.connection, LEASES), lease_key("actor", "camera", entity)
    await leases.put(key, b'{"ttl":10}', 60.0)

    assert (await edge.http.get(f"/recordings/{recording.id}")).json()["status"] == "recording"
    await leases.delete(key, 60.0)

    assert (await edge.http.get(f"/recordings/{recording.id}")).json()["status"] == "interrupted"
    assert (await edge.http.delete(f"/recordings/{recording.id}")).status_code == 204


async def test_what_is_deleted_is_gone_and_an_event_says_so(edge: RunningEdge, broker: Broker, entity: str) -> None:
    recording, failed = await recorded(broker, entity), await recorded(broker, entity, status=FAILED)

    assert (await edge.http.delete(f"/recordings/{recording.id}")).status_code == 204

    for path in (f"/recordings/{recording.id}", f"/recordings/{recording.id}.mp4"):
        gone = await edge.http.get(path)
        assert (gone.status_code, gone.json()["code"]) == (404, "recording_not_found")
    assert (await edge.http.get(f"/recordings/{failed.id}.mp4")).content == FILE
    (told,) = await broker.latest([f"camera.{entity}.recording"])
    assert told.event is not None
    assert told.event.data["what"] == "deleted" and told.event.data["recording"] == recording.id


@pytest.mark.parametrize("id", ["x", "20261127T074512-0a1b2c3d", "*", "%2A", "20261127T074512-*"])
async def test_an_id_that_nobody_has_is_a_404(edge: RunningEdge, id: str) -> None:
    for path in (f"/recordings/{id}", f"/recordings/{id}.mp4", f"/recordings/{id}/1.jpg"):
        answer = await edge.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "recording_not_found")
    assert (await edge.http.delete(f"/recordings/{id}")).status_code == 404


async def test_stills_are_read_by_their_number(edge: RunningEdge, broker: Broker, entity: str) -> None:
    began = (time.time() - 60) * 1000
    id, recordings = new_recording_id(), Recordings(broker)
    recording = Recording(
        id=id, camera=entity, session=id, began=began, kind=STILLS, every=10.0, status=FINISHED, frames=1
    )
    await recordings.save(recording)
    await recordings.add(
        recording, RecordedPiece(n=1, at=0, size=6, time=began, until=began, frames=1), b"\xff\xd8jpeg"
    )

    still = await edge.http.get(f"/recordings/{id}/1.jpg")

    assert (still.status_code, still.content) == (200, b"\xff\xd8jpeg")
    assert datetime.fromisoformat(still.headers["x-capture-time"]).timestamp() == pytest.approx(began / 1000, abs=0.001)
    assert (await edge.http.get(f"/recordings/{id}")).json()["url"] == f"/recordings/{id}/{{n}}.jpg"
    for wrong in ("0", "2", "-1", "x", "9" * 40, "9" * 5000):
        assert (await edge.http.get(f"/recordings/{id}/{wrong}.jpg")).json()["code"] == "no_frame", wrong
    assert (await edge.http.get(f"/recordings/{id}.mp4")).json()["code"] == "no_video"


async def test_who_may_not_read_the_camera_reads_no_recording_of_it(
    secure_edge: SecuredEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity)
    path = f"/recordings/{recording.id}"
    bob = secure_edge.as_("bob", read=[f"camera.{entity}.>"])
    eve = secure_edge.as_("eve", read=["camera.other.>", f"camera.{entity}.state"])
    ann = secure_edge.as_("ann", read=[f"camera.{entity}.>"], command=[f"camera.{entity}.stop_recording"])

    assert (await secure_edge.http.get(f"{path}.mp4")).json()["code"] == "token_required"
    assert (await bob.http.get(f"{path}.mp4")).content == FILE
    assert [each["id"] for each in (await bob.http.get("/recordings")).json()["recordings"]] == [recording.id]
    assert recording.id not in (await eve.http.get("/recordings")).text
    for way in (path, f"{path}.mp4", f"{path}/1.jpg"):
        assert (await eve.http.get(way)).json()["code"] == "not_granted"
    assert (await bob.http.delete(path)).json()["code"] == "not_granted"
    assert (await ann.http.delete(path)).status_code == 204


async def test_a_ticket_lets_a_player_in_that_asks_for_ranges(
    secure_edge: SecuredEdge, broker: Broker, entity: str
) -> None:
    recording = await recorded(broker, entity)
    path = f"/recordings/{recording.id}.mp4"
    bob = secure_edge.as_("bob", read=[f"camera.{entity}.>"])
    ticket = (await bob.http.post("/tickets", json={"path": path})).json()["ticket"]

    first = await secure_edge.http.get(f"{path}?ticket={ticket}", headers={"Range": "bytes=0-99"})
    # A player repeats the address as it is; the cookie of the first answer lets it in.
    again = await secure_edge.http.get(f"{path}?ticket={ticket}", headers={"Range": "bytes=100-"})

    assert (first.status_code, again.status_code) == (206, 206), again.text
    assert first.content + again.content == FILE
