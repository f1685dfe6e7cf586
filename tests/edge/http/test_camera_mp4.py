"""A camera's H.264 is one MP4 file that begins at once, at 0, with a key."""

from __future__ import annotations

import asyncio
import io
import socket
import subprocess
import time

import av
import pytest

from edge import metrics
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
    async with LiveFilm(store, entity).running() as camera, asyncio.timeout(PATIENCE):
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
    # Its times are those of the captures.
    shown = [round(picture.time * 1000) for picture in pictures]
    assert shown in [
        [time - first for time in camera.times[n : n + len(shown)]] for n, first in enumerate(camera.times)
    ]


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
async def test_ffmpeg_plays_the_address(edge: RunningEdge, store: Broker, entity: str) -> None:
    ffmpeg = parts.program(parts.FFMPEG, "ffmpeg")

    async with LiveFilm(store, entity).running(), asyncio.timeout(PATIENCE):
        playing = await asyncio.create_subprocess_exec(
            ffmpeg, "-v", "error", "-i", f"{edge.url}/cameras/{entity}/stream.mp4", "-t", "1", "-fps_mode", "vfr", "-f", "null", "-",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, complaints = await playing.communicate()

    assert (playing.returncode, complaints) == (0, b"")


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


@pytest.mark.slow
async def test_a_slow_client_skips_to_a_key_and_what_it_missed_is_counted(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    counts = metrics.frames_dropped_by_reason.labels("mp4", "behind")._value
    before = counts.get()

    async with LiveFilm(store, entity, filler=60_000).running():
        ages = await asyncio.to_thread(read_slowly, edge.port, entity, 10.0)

    # 600 kB a second to a client that takes 250: where the kernel held megabytes, it would see what was 8 s ago.
    assert max(ages[len(ages) // 2 :]) < 3.0, ages
    await eventually(lambda: counts.get() > before + 20)


def read_slowly(port: int, entity: str, seconds: float) -> list[float]:
    """Reads 250 kB a second of a file; returns how far each fragment lies behind the first one's time and the clock, in seconds."""
    ages = []
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET /cameras/{entity}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        begun, kept = 0.0, b""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            kept += client.recv(25_000, socket.MSG_WAITALL)
            while (at := kept.find(b"tfdt")) >= 0 and len(kept) >= at + 16:
                begun = begun or time.monotonic()
                media = int.from_bytes(kept[at + 8 : at + 16], "big") / 1000
                ages.append(time.monotonic() - begun - media)
                kept = kept[at + 16 :]
            kept = kept[-20:] if b"tfdt" not in kept else kept
            time.sleep(0.1)
    return ages


@pytest.mark.slow
async def test_a_client_that_takes_200_ms_for_a_picture_sees_the_present(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    """Its kernel and ours hold minutes of pictures as small as these."""
    async with LiveFilm(store, entity, filler=2_000, fps=25).running() as film:
        before = film.sent
        reading = asyncio.ensure_future(asyncio.to_thread(read_pictures, edge.port, entity, 12.0, 0.2))
        quick = await asyncio.to_thread(read_pictures, edge.port, entity, 12.0, 0.0)
        made = film.sent - before
        slow = await reading

    # Without a pace it would be 9 s behind after 12. On an idle machine it is 1.4 s at most.
    assert max(slow) < 2.5, slow
    # Who keeps up loses nothing but what came before the first key.
    assert len(quick) > 0.8 * made


@pytest.mark.slow
async def test_a_client_that_stops_reading_small_pictures_is_cut_off_before_the_buffers_are_full(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_mp4, "STALLED_SECONDS", 1.0)
    bucket = Bucket(store.connection, "LEASES")

    async def is_watched(watched: bool) -> bool:
        return bool([entry.key for entry in await bucket.entries(f"view.camera.{entity}.>")]) is watched

    async with LiveFilm(store, entity, filler=2_000).running():
        with socket.socket() as client:
            await asyncio.get_running_loop().run_in_executor(None, client.connect, ("127.0.0.1", edge.port))
            client.sendall(f"GET /cameras/{entity}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await eventually(lambda: is_watched(True))
            await eventually(lambda: is_watched(False))


def read_pictures(port: int, entity: str, seconds: float, pause: float) -> list[float]:
    """Reads one fragment after the other, with a pause behind each; returns how old each was, in seconds, beside the first."""
    ages: list[float] = []
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET /cameras/{entity}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        begun, kept = 0.0, b""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            while (at := kept.find(b"tfdt")) < 0 or len(kept) < at + 16:
                kept += client.recv(1024)
            begun = begun or time.monotonic()
            media = int.from_bytes(kept[at + 8 : at + 16], "big") / 1000
            ages.append(time.monotonic() - begun - media)
            kept = kept[at + 16 :]
            time.sleep(pause)
    return ages


@pytest.mark.parametrize(
    ("path", "code"),
    [("nowhere/stream.mp4", "camera_not_found"), ("nowhere/stream.mp4?height=333", "bad_parameter")],
)
async def test_what_cannot_be_watched_is_refused(edge: RunningEdge, path: str, code: str) -> None:
    answer = await edge.http.get(f"/cameras/{path}")

    assert answer.json()["code"] == code
