"""Servers that send what no camera sends: each is told with a reason in time, and the camera is back once the server is good."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.system.probe import Probe
from router.nats.embedded import free_port
from tests.actors.camera.packets import jpeg
from tests.actors.camera.scripted import states, status
from tests.actors.camera.sources.raw_server import raw_server
from tests.waiting import PATIENCE, eventually

GOOD = jpeg(64, 48)
MULTIPART = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"


def part(body: bytes) -> bytes:
    return b"--b\r\nContent-Length: %d\r\n\r\n" % len(body) + body + b"\r\n"


def bomb() -> bytes:
    data = bytearray(GOOD)
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff" * 4
    return bytes(data)


def hangs(connection: socket.socket) -> None:
    connection.settimeout(PATIENCE)
    connection.recv(1)


def endless(connection: socket.socket) -> None:
    connection.sendall(MULTIPART + b"--b\r\n")
    while True:
        connection.sendall(b"X-Head: more\r\n" * 100)


def says(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def again_and_again(body: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(MULTIPART)
        while True:
            connection.sendall(part(body))
            time.sleep(0.05)  # the pace of the camera

    return send


BAD: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "rubbish": (says(b"\x00\xff" * 5000), "cannot be reached or answers in a way that is not understood"),
    "a head that is cut": (says(b"HTTP/1.1 200 OK\r\nContent-Ty"), ""),
    "a head of a part without end": (endless, "heads that do not end"),
    "a loop": (says(b"HTTP/1.1 302 Found\r\nLocation: /video\r\nContent-Length: 0\r\n\r\n"), "sends on and on"),
    "text": (says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"), "FFmpeg can read"),
    "empty pictures": (again_and_again(b""), "bad pictures in a row; the last: a picture is no JPEG"),
    "bombs": (again_and_again(bomb()), "says that it has 65535x65535 pixels, and cannot"),
    "a picture too large": (says(MULTIPART + b"--b\r\nContent-Length: 9999999999\r\n\r\n"), "larger than 64 MiB"),
    "nobody": (says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "has no such stream"),
    "trouble": (says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "answers with 503"),
    "silence": (hangs, "has sent nothing for 2.1 s"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_server_over_http_is_told_and_a_good_one_taken_up_again(name: str) -> None:
    bad, why = BAD[name]
    good: list[bool] = []

    def answer(connection: socket.socket, head: str) -> None:
        if not good:
            bad(connection)
            return
        connection.sendall(MULTIPART)
        for shade in range(1000):
            connection.sendall(part(jpeg(64, 48, shade % 200)))
            time.sleep(0.03)  # the pace of the camera

    port = free_port()
    url = f"http://some:secret@127.0.0.1:{port}/video?token=secret2"
    with raw_server(answer, port=port):
        async with Probe(lambda: Camera(CameraSettings(source=url))) as camera:
            camera.set_viewers("camera", "main", 1)
            await eventually(lambda: status(camera) == "failed")
            assert why in states(camera)[-1]["reason"]

            good.append(True)
            await eventually(lambda: status(camera) == "streaming" and len(camera.frames) > 0)

            assert camera.crashes == [] and "secret" not in str(camera.emitted)
