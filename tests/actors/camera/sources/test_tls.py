"""Sources over TLS: whom they believe, over HTTP, through FFmpeg, and over RTSP."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress
from actors.camera.sources.open import open_source
from actors.camera.sources.source import CameraSource, Grabbed, SourceUnavailable
from router.nats.embedded import free_port
from tests.actors.camera.packets import jpeg
from tests.actors.camera.sources.films import numbered_film
from tests.actors.camera.sources.raw_server import raw_server, tls_relay
from tests.actors.camera.sources.test_stream import rtsp_server
from tests.servers import Authority

PICTURE = jpeg(64, 48)
Serving = Callable[[str], str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_film(tmp_path_factory.mktemp("films") / "film.ts", frames=20)


@pytest.fixture(scope="module")
def addresses(authority: Authority, film: Path) -> Iterator[dict[str, str]]:
    """Of each kind of source, a server whose certificate is signed by an authority that the system does not know."""

    def answer(connection: socket.socket, head: str) -> None:
        if "/film" in head:
            body = film.read_bytes()
            kind = f"video/mp2t\r\nContent-Length: {len(body)}"
        else:
            body = f"--b\r\nContent-Length: {len(PICTURE)}\r\n\r\n".encode() + PICTURE
            kind = "multipart/x-mixed-replace; boundary=b"
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + body)

    pair = authority.issue("server", "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    port = free_port()
    with raw_server(answer, tls) as https, rtsp_server(film, port), tls_relay(port, tls) as rtsps:
        yield {
            "mjpeg": f"https://u:hush@127.0.0.1:{https}/video",
            "film": f"https://u:hush@127.0.0.1:{https}/film",
            "rtsp": f"rtsps://u:hush@127.0.0.1:{rtsps}/film",
        }


def opened(url: str) -> CameraSource:
    source = open_source(SourceAddress.parse(url), CameraSettings(source=url))
    try:
        source.open()
    except BaseException:
        source.close()
        raise
    return source


def first(url: str) -> Grabbed:
    source = opened(url)
    try:
        while (given := source.grab(0)) is None:
            pass
        return given
    finally:
        source.close()


@pytest.mark.parametrize("kind", ["mjpeg", "film", "rtsp"])
def test_a_certificate_of_nobody_that_the_system_knows_is_refused_unless_the_address_says_otherwise(
    addresses: dict[str, str], authority: Authority, kind: str
) -> None:
    url = addresses[kind]
    with pytest.raises(
        SourceUnavailable, match=r"^127\.0\.0\.1:\d+ shows a certificate that is not trusted"
    ) as refused:
        opened(url)
    assert "hush" not in str(refused.value)

    assert first(f"{url}?tls_ca={authority.cert}").width > 0
    assert first(f"{url}?tls_verify=no").width > 0


@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
def test_a_certificate_for_another_name_is_refused(addresses: dict[str, str], authority: Authority, kind: str) -> None:
    url = addresses[kind].replace("127.0.0.1", "localhost")

    with pytest.raises(SourceUnavailable, match=r"not trusted \(it is for another name\)$"):
        opened(f"{url}?tls_ca={authority.cert}")


@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
def test_a_file_of_authorities_that_is_none_is_told_by_its_name(
    addresses: dict[str, str], film: Path, kind: str
) -> None:
    for path in (film, film.parent / "nothing.pem"):
        with pytest.raises(SourceUnavailable) as refused:
            opened(f"{addresses[kind]}?tls_ca={path}")
        assert str(refused.value) == f"the file {path.name} of tls_ca cannot be read or holds no certificate in PEM"


@pytest.mark.parametrize("scheme", ["https", "rtsps"])
def test_a_server_that_speaks_no_tls_is_told(film: Path, scheme: str) -> None:
    with (
        rtsp_server(film, port := free_port()),
        pytest.raises(SourceUnavailable, match=r"(does not speak TLS|ended the stream)$"),
    ):
        opened(f"{scheme}://u:hush@127.0.0.1:{port}/video")
