"""Cameras over HTTP from a real server: MJPEG passed through, logins, a server that stalls, ends, or sends rubbish."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.open import open_source
from actors.camera.sources.source import BadPicture, CameraSource, Packet, SourceUnavailable
from tests.actors.camera.sources.films import NumberReader, numbered_film
from tests.waiting import PATIENCE

Handler = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

BOUNDARY = "frame"
LOGIN = "Basic " + base64.b64encode(b"some one:hush/hush").decode()


def jpeg(shade: int) -> bytes:
    with BytesIO() as file:
        Image.fromarray(np.full((48, 64, 3), shade, dtype=np.uint8)).save(file, "JPEG")
        return file.getvalue()


def part(body: bytes, length: bool = True) -> bytes:
    head = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{head}\r\n".encode() + body + b"\r\n"


async def three(request: web.Request, response: web.StreamResponse) -> None:
    for shade in (10, 20, 30):
        await response.write(part(jpeg(shade)))


async def three_without_length(request: web.Request, response: web.StreamResponse) -> None:
    for shade in (10, 20, 30):
        for at in range(0, len(whole := part(jpeg(shade), length=False)), 100):
            await response.write(whole[at : at + 100])
    await response.write(f"--{BOUNDARY}--\r\n".encode())


async def one_and_silence(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(part(jpeg(10)))
    await asyncio.sleep(PATIENCE)


async def trickle(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(part(jpeg(10)))
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def damaged_then_good(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(part(b"no picture at all") + part(jpeg(10)[:200]))
    await response.write(part(jpeg(20)))


async def locked(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(part(jpeg(10)))


CAMERAS: dict[str, Handler] = {
    each.__name__: each for each in (three, three_without_length, one_and_silence, trickle, damaged_then_good, locked)
}


async def camera(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in CAMERAS:
        return web.Response(status=404)
    if name == "locked" and request.headers.get("Authorization") != LOGIN:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="camera"'})
    response = web.StreamResponse(headers={"Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the camera was switched off
        await CAMERAS[name](request, response)
    return response


async def text(request: web.Request) -> web.Response:
    return web.Response(text="this is no camera\n" * 200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("films")
    numbered_film(folder / "film.mp4", frames=20)
    numbered_film(folder / "film.ts", frames=20)

    async def playlist(request: web.Request) -> web.Response:
        where = f"file://{folder}/film.ts" if request.path == "/far.m3u8" else "/films/film.ts"
        lines = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:0.8,\n{where}\n#EXT-X-ENDLIST\n"
        return web.Response(text=lines, content_type="application/vnd.apple.mpegurl")

    loop = asyncio.new_event_loop()
    ready, ending, address = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        application = web.Application()
        application.router.add_get("/cameras/{name}", camera)
        application.router.add_get("/text", text)
        application.router.add_static("/films", folder)
        application.router.add_get("/near.m3u8", playlist)
        application.router.add_get("/far.m3u8", playlist)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address.append(f"127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await ending.wait()
        await runner.cleanup()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.1)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    yield address[0]
    loop.call_soon_threadsafe(ending.set)
    thread.join(PATIENCE)
    loop.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., CameraSource]]:
    opened: list[CameraSource] = []

    def connect(url: str, silence: float = 3.0) -> CameraSource:
        source = open_source(SourceAddress.parse(url), CameraSettings(source=url, silence=silence))
        opened.append(source)
        source.open()
        return source

    yield connect
    for source in opened:
        source.close()


Connect = Callable[..., CameraSource]


@pytest.mark.parametrize("name", ["three", "three_without_length"])
def test_jpegs_are_passed_through_as_they_are(server: str, connect: Connect, name: str) -> None:
    source = connect(f"http://{server}/cameras/{name}")

    given = [source.grab(seq) for seq in range(3)]

    assert [each.data for each in given if isinstance(each, Packet)] == [jpeg(10), jpeg(20), jpeg(30)]
    assert {(each.codec, each.width, each.height) for each in given if isinstance(each, Packet)} == {("jpeg", 64, 48)}
    with pytest.raises(SourceUnavailable, match=r"ended the stream$"):
        source.grab(3)


def test_a_login_is_sent_and_a_wrong_one_told_without_it(server: str, connect: Connect) -> None:
    source = connect(f"http://some%20one:hush%2Fhush@{server}/cameras/locked")
    assert isinstance(source.grab(0), Packet)

    with pytest.raises(SourceUnavailable) as refused:
        connect(f"http://some:secret@{server}/cameras/locked?token=secret2")
    assert str(refused.value) == f"{server} refuses the login"
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(("name", "why"), [("one_and_silence", "sent nothing"), ("trickle", "sent no whole picture")])
def test_a_server_that_stalls_in_mid_stream_is_noticed(server: str, connect: Connect, name: str, why: str) -> None:
    source = connect(f"http://{server}/cameras/{name}", silence=1.0)
    source.grab(0)

    with pytest.raises(SourceUnavailable, match=why):
        source.grab(1)


def test_a_damaged_picture_is_told_and_the_next_is_given(server: str, connect: Connect) -> None:
    source = connect(f"http://{server}/cameras/damaged_then_good")

    for _ in range(2):
        with pytest.raises(BadPicture):
            source.grab(0)
    good = source.grab(0)
    assert isinstance(good, Packet) and good.data == jpeg(20)


def test_a_film_over_http_is_read_through_ffmpeg(server: str, connect: Connect) -> None:
    source = connect(f"http://{server}/films/film.mp4")

    reader = NumberReader()
    numbers = [number for seq in range(20) for number in reader.read(source.grab(seq))]

    assert numbers == list(range(20))
    assert source.packets == "h264"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "why"),
    [("cameras/nobody", "has no such stream"), ("text", "sends nothing that FFmpeg can read")],
)
def test_what_is_no_camera_is_told(server: str, connect: Connect, path: str, why: str) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        connect(f"http://some:secret@{server}/{path}?token=secret2")

    assert str(refused.value) == f"{server} {why}"


def test_a_playlist_over_http_reads_no_file_of_this_machine(server: str, connect: Connect) -> None:
    source = connect(f"http://{server}/near.m3u8")
    assert NumberReader().read(source.grab(0)) == [0]

    with pytest.raises(SourceUnavailable):
        connect(f"http://{server}/far.m3u8").grab(0)
