"""RTSP from a real server, a process of its own: passed through, stopped in mid-stream, killed, refused."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.open import open_source
from actors.camera.sources.source import CameraSource, FramePicture, LoginRefused, Packet, Picture, SourceUnavailable
from router.nats.embedded import free_port
from tests.actors.camera.sources.films import NumberReader, numbered_film

Serve = Callable[..., "subprocess.Popen[bytes]"]
Connect = Callable[[str], CameraSource]

SECRET = "hush hush"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_film(tmp_path_factory.mktemp("films") / "film.mp4")


@contextlib.contextmanager
def rtsp_server(film: Path, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serves a film at rtsp://127.0.0.1:<port>/film."""
    command = [sys.executable, "-m", "tests.actors.camera.sources.rtsp_server", str(film), str(port), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as serving:
        try:
            assert serving.stdout and serving.stdout.readline() == b"ready\n"
            yield serving
        finally:
            serving.kill()


@pytest.fixture(scope="module")
def port(film: Path) -> Iterator[int]:
    port = free_port()
    with rtsp_server(film, port, "--login", f"some one:{SECRET}"):
        yield port


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[CameraSource] = []

    def connect(url: str, silence: float = 3.0) -> CameraSource:
        source = open_source(SourceAddress.parse(url), CameraSettings(source=url, silence=silence))
        opened.append(source)
        source.open()
        return source

    yield connect
    for source in opened:
        source.close()


def grabbed(source: CameraSource, count: int) -> list[Picture | Packet]:
    given: list[Picture | Packet] = []
    while len(given) < count:
        each = source.grab(len(given))
        if each is not None:
            given.append(each)
    return given


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_h264_is_passed_through_in_order_from_a_key_at_the_stream_s_own_times(
    port: int, connect: Connect, transport: str
) -> None:
    source = connect(f"rtsp://some%20one:hush%20hush@127.0.0.1:{port}/film?transport={transport}")

    given = grabbed(source, 30)

    reader = NumberReader()
    assert all(isinstance(each, Packet) and each.codec == "h264" for each in given)
    assert isinstance(given[0], Packet) and given[0].key
    numbers = [number for each in given for number in reader.read(each)]
    assert [(b - a) % 50 for a, b in pairwise(numbers)] == [1] * 29
    times = [each.time for each in given]
    assert all(a < b for a, b in pairwise(times))
    # Once what was looked at when it was opened is over.
    assert [round(b - a) for a, b in pairwise(times[-10:])] == pytest.approx([40] * 9, abs=8)
    assert abs(times[-1] - time.time() * 1000) < 5_000


def test_a_stream_with_b_frames_is_decoded(tmp_path: Path, connect: Connect) -> None:
    film = numbered_film(tmp_path / "film.mp4", preset="medium", tune="film", bf="2")
    port = free_port()
    with rtsp_server(film, port):
        source = connect(f"rtsp://127.0.0.1:{port}/film")
        given = grabbed(source, 20)

    reader = NumberReader()
    numbers = [number for each in given for number in reader.read(each)]
    assert all(isinstance(each, (Picture, FramePicture)) for each in given)
    assert [(b - a) % 50 for a, b in pairwise(numbers)] == [1] * 19


def test_a_wrong_login_is_told_without_it(port: int, connect: Connect) -> None:
    with pytest.raises(SourceUnavailable) as refused:
        connect(f"rtsp://some:secret@127.0.0.1:{port}/film?token=secret2")

    assert str(refused.value) == f"127.0.0.1:{port} refuses the login"
    assert refused.value.__suppress_context__  # a traceback would show FFmpeg's text with the whole URL


def test_nobody_at_the_address_is_told(connect: Connect) -> None:
    port = free_port()
    with pytest.raises(SourceUnavailable, match=rf"^127\.0\.0\.1:{port} refuses the connection$"):
        connect(f"rtsp://some:secret@127.0.0.1:{port}/film")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\nhello", b"\x00\xff" * 5000, b""])
def test_a_server_that_sends_rubbish_is_told_in_time(connect: Connect, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        connection.recv(1000)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(SourceUnavailable, match=r"^127\.0\.0\.1:"):
            connect(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/film")


def test_a_server_that_hangs_in_mid_stream_is_noticed_and_one_that_ends_at_once(film: Path, connect: Connect) -> None:
    port = free_port()
    with rtsp_server(film, port) as serving:
        hanging, ending = connect(f"rtsp://127.0.0.1:{port}/film"), connect(f"rtsp://127.0.0.1:{port}/film")
        grabbed(hanging, 15)
        grabbed(ending, 15)

        os.kill(serving.pid, signal.SIGSTOP)
        with pytest.raises(SourceUnavailable, match=r"has sent nothing for 2\.1 s$"):
            grabbed(hanging, 1000)

        serving.kill()
        with pytest.raises(SourceUnavailable, match=r"ended the stream$"):
            grabbed(ending, 1000)


def test_a_digest_login_is_answered(film: Path, connect: Connect) -> None:
    port = free_port()
    with rtsp_server(film, port, "--digest", "--login", f"some one:{SECRET}"):
        assert grabbed(connect(f"rtsp://some%20one:hush%20hush@127.0.0.1:{port}/film"), 3)
        with pytest.raises(LoginRefused, match=r"refuses the login$"):
            connect(f"rtsp://some%20one:secret@127.0.0.1:{port}/film")
        with pytest.raises(LoginRefused, match=r"wants a login, and the address has none$"):
            connect(f"rtsp://127.0.0.1:{port}/film")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "large"])
def test_over_udp_what_follows_a_lost_packet_is_left_out_up_to_the_next_key(
    tmp_path: Path, connect: Connect, size: str
) -> None:
    # Pictures of one packet are lost whole, larger ones in part.
    film = numbered_film(tmp_path / "film.mp4", **({"crf": "51"} if size == "small" else {"qp": "1", "g": "5"}))
    port = free_port()
    with rtsp_server(film, port, "--lose", "0.05"):
        given = grabbed(connect(f"rtsp://127.0.0.1:{port}/film?transport=udp"), 60)

    reader, checker = NumberReader(), av.CodecContext.create("h264", "r")
    numbers = [number for each in given for number in reader.read(each)]
    assert all(isinstance(each, Packet) for each in given) and len(numbers) == 60
    assert not any(frame.is_corrupt for each in given for frame in checker.decode(av.Packet(each.data)))
    after = [each.key for (a, b), each in zip(pairwise(numbers), given[1:], strict=True) if (b - a) % 50 != 1]
    assert after and all(after)
    assert max((b.time - a.time) for a, b in pairwise(given)) < 3000
