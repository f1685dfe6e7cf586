"""Logins over HTTP, and answers that come byte by byte."""

from __future__ import annotations

import hashlib
import re
import socket
import time

import pytest

from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.open import open_source
from actors.camera.sources.source import CameraSource, LoginRefused, Packet, SourceUnavailable
from tests.actors.camera.packets import jpeg
from tests.actors.camera.sources.raw_server import Answer, raw_server

PICTURE = jpeg(64, 48)
MJPEG = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n\r\n" + PICTURE + b"--b"


class Locked:
    """A camera that wants a digest of user "some one", password "hüsh"."""

    def __init__(self, algorithm: str, qop: str) -> None:
        self._algorithm, self._qop = algorithm, qop
        self.logins = 0

    def __call__(self, connection: socket.socket, head: str) -> None:
        said = re.search(r"^Authorization: Digest (.*)$", head, re.MULTILINE)
        if said:
            self.logins += 1
        if said and self._is_right(dict(re.findall(r'(\w+)="?([^",\r]*)', said[1]))):
            connection.sendall(MJPEG)
            return
        qop = f', qop="{self._qop}"' if self._qop else ""
        connection.sendall(
            f'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="cam", nonce="{time.monotonic_ns()}", '
            f"algorithm={self._algorithm}{qop}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    def _is_right(self, given: dict[str, str]) -> bool:
        own, asked = self._hash("some one:cam:hüsh"), self._hash(f"GET:{given['uri']}")
        between = f"{given['nc']}:{given['cnonce']}:{given['qop']}:" if self._qop else ""
        return given["response"] == self._hash(f"{own}:{given['nonce']}:{between}{asked}")

    def _hash(self, text: str) -> str:
        return hashlib.new(self._algorithm.replace("-", ""), text.encode()).hexdigest()


def source_of(url: str, silence: float = 3.0) -> CameraSource:
    return open_source(SourceAddress.parse(url), CameraSettings(source=url, silence=silence))


@pytest.mark.parametrize(("algorithm", "qop"), [("MD5", ""), ("MD5", "auth"), ("SHA-256", "auth")])
def test_a_digest_login_is_answered_once_and_a_wrong_one_told_without_it(algorithm: str, qop: str) -> None:
    camera = Locked(algorithm, qop)
    with raw_server(camera) as port:
        good = source_of(f"http://some%20one:h%C3%BCsh@127.0.0.1:{port}/video?x=1")
        good.open()
        picture = good.grab(0)
        good.close()
        assert isinstance(picture, Packet) and picture.data == PICTURE

        before = camera.logins
        bad = source_of(f"http://some%20one:secret@127.0.0.1:{port}/video")
        with pytest.raises(LoginRefused) as refused:
            bad.open()
        bad.close()

        assert str(refused.value) == f"127.0.0.1:{port} refuses the login"
        # A camera may lock out whose login was wrong several times.
        assert camera.logins == before + 1
        with pytest.raises(LoginRefused, match=r"wants a login, and the address has none$"):
            source_of(f"http://127.0.0.1:{port}/video").open()


def drip(data: bytes) -> Answer:
    def answer(connection: socket.socket, head: str) -> None:
        connection.sendall(data)
        while True:
            connection.sendall(b"1")
            time.sleep(0.05)  # the pace of the server is what is tested

    return answer


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"]
)
def test_a_server_that_sends_its_head_byte_by_byte_is_given_up_in_time(data: bytes) -> None:
    with raw_server(drip(data)) as port:
        source = source_of(f"http://127.0.0.1:{port}/video", silence=1.0)
        # Without a deadline for the whole answer it would wait as long as bytes come, and they come for ever.
        with pytest.raises(SourceUnavailable):
            source.open()
        source.close()


def test_a_chunk_whose_size_comes_digit_by_digit_is_given_up_in_time() -> None:
    head = MJPEG.split(b"\r\n\r\n")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(drip(head)) as port:
        source = source_of(f"http://127.0.0.1:{port}/video", silence=1.0)
        source.open()
        with pytest.raises(SourceUnavailable):
            source.grab(0)
        source.close()


def test_nothing_but_http_is_followed_and_no_login_is_sent_elsewhere() -> None:
    heads: list[str] = []

    def elsewhere(connection: socket.socket, head: str) -> None:
        heads.append(head)
        connection.sendall(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')

    with raw_server(elsewhere) as other:
        places = {"/file": "file:///etc/passwd", "/ftp": "ftp://127.0.0.1/x", "/far": f"http://127.0.0.1:{other}/"}

        def sends_on(connection: socket.socket, head: str) -> None:
            where = places[head.split()[1]]
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

        with raw_server(sends_on) as port:
            for path in places:
                with pytest.raises(SourceUnavailable):
                    source_of(f"http://some:secret@127.0.0.1:{port}{path}").open()

    assert len(heads) == 1 and "authorization" not in heads[0].lower()
