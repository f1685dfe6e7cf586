"""A camera's H.264 is one MP4 file that begins at once, at 0, with a key."""

from __future__ import annotations

import asyncio
import io
import subprocess

import av
import pytest

from edge.http import camera_mp4
from router.broker import Broker
from router.nats.bucket import Bucket
from tests import parts
from tests.edge.conftest import RunningEdge
from tests.edge.transports.video.h264 import LiveFilm
from tests.waiting import PATIENCE, eventually


async def test_a_file_begins_with_a_key_at_0_and_its_viewer_holds_a_lease_for_as_long(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    bucket = Bucket(store.connection, "LEASES")

    async def leases() -> list[str]:
        return [entry.key.split(".")[-1] for entry in await bucket.entries(f"view.camera.{entity}.>")]

    async def is_watched(watched: bool) -> bool:
        return await leases() == (["h264"] if watched else [])

    film = b""
    async with LiveFilm(store, entity).running(), asyncio.timeout(PATIENCE):
        async with edge.http.stream("GET", f"/cameras/{entity}/stream.mp4") as answer:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
            await eventually(lambda: is_watched(True))
            async for part in answer.aiter_raw():
                film += part
                if film.count(b"moof") >= 12:
                    break
        await eventually(lambda: is_watched(False))

    whole = film[: film.rindex(b"moof") - 4]
    with av.open(io.BytesIO(whole)) as read:
        pictures = list(read.decode(video=0))
    assert len(pictures) >= 11
    assert pictures[0].key_frame and pictures[0].pts == 0


async def test_its_head_has_no_body_and_ends(edge: RunningEdge, store: Broker, entity: str) -> None:
    async with LiveFilm(store, entity).running(), asyncio.timeout(PATIENCE):
        answer = await edge.http.head(f"/cameras/{entity}/stream.mp4")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")


async def test_ffprobe_opens_the_address(edge: RunningEdge, store: Broker, entity: str) -> None:
    ffprobe = parts.program(parts.FFMPEG, "ffprobe")

    async with LiveFilm(store, entity).running(), asyncio.timeout(PATIENCE):
        probing = await asyncio.create_subprocess_exec(
            ffprobe, "-v", "error", "-read_intervals", "%+#5", "-show_entries", "stream=codec_name,width,height",
            "-of", "csv=p=0", f"{edge.url}/cameras/{entity}/stream.mp4",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        said, complaints = await probing.communicate()

    assert (probing.returncode, complaints) == (0, b"")
    assert said.decode().strip() == "h264,160,120"


@pytest.mark.slow
async def test_a_client_that_takes_nothing_is_cut_off_and_gives_its_lease_back(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_mp4, "STALLED_SECONDS", 0.3)
    bucket = Bucket(store.connection, "LEASES")

    async def is_watched(watched: bool) -> bool:
        return bool([entry.key for entry in await bucket.entries(f"view.camera.{entity}.>")]) is watched

    async with LiveFilm(store, entity, filler=500_000).running():
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1024)
        writer.write(f"GET /cameras/{entity}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readline()
        await eventually(lambda: is_watched(True))
        await eventually(lambda: is_watched(False))
        writer.close()


@pytest.mark.parametrize(
    ("path", "code"),
    [("nowhere/stream.mp4", "camera_not_found"), ("nowhere/stream.mp4?height=333", "bad_parameter")],
)
async def test_what_cannot_be_watched_is_refused(edge: RunningEdge, path: str, code: str) -> None:
    answer = await edge.http.get(f"/cameras/{path}")

    assert answer.json()["code"] == code
