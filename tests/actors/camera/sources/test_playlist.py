"""Playlists over HTTP and TLS: what they name is read by the package's own client, which verifies each server."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from actors.camera.sources.playlist import is_hls
from actors.camera.sources.source import SourceUnavailable
from tests.actors.camera.sources.films import NumberReader, numbered_film
from tests.actors.camera.sources.raw_server import raw_server
from tests.actors.camera.sources.test_tls import opened
from tests.servers import Authority
from tests.waiting import PATIENCE

FRAMES = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film as HLS, as FFmpeg writes it, and as one file of MPEG-TS."""
    folder = tmp_path_factory.mktemp("playlists")
    film = numbered_film(folder / "film.ts", frames=FRAMES)
    with av.open(str(film)) as source, av.open(str(folder / "live.m3u8"), "w", format="hls") as made:
        copy = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
    return folder


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("known"))


def tls(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("server", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    return context


@contextlib.contextmanager
def serving(
    folder: Path,
    context: ssl.SSLContext | None = None,
    playlist: Callable[[], str] = str,
    heads: list[str] | None = None,
    locked: bool = False,
) -> Iterator[int]:
    """Serves the files of a folder, and a playlist at /made.m3u8; honours ranges, and notes the requests' heads.

    Where it is locked, it wants a login of each request.
    """

    def answer(connection: socket.socket, head: str) -> None:
        if heads is not None:
            heads.append(head)
        if locked and "Authorization" not in head:
            challenge = 'WWW-Authenticate: Basic realm="camera"'
            connection.sendall(
                f"HTTP/1.1 401 Unauthorized\r\n{challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            return
        path = head.split()[1].partition("?")[0].lstrip("/")
        if path == "stalls.ts":
            connection.recv(1)  # until the client hangs up
            return
        body = playlist().encode() if path == "made.m3u8" else None
        if body is None and not (folder / path).exists():
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        body = (folder / path).read_bytes() if body is None else body
        if (wanted := re.search(r"Range: bytes=(\d+)-(\d*)", head)) is not None:
            body = body[int(wanted[1]) : int(wanted[2]) + 1 if wanted[2] else None]
        connection.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )

    with raw_server(answer, context) as port:
        yield port


def listed(*segments: str) -> str:
    lines = "\n".join(f"#EXTINF:0.8,\n{segment}" for segment in segments)
    return f"#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:5\n{lines}\n#EXT-X-ENDLIST\n"


def numbers(url: str) -> list[int]:
    source, reader, found = opened(url), NumberReader(), list[int]()
    with contextlib.closing(source):
        while True:
            try:
                found += reader.read(source.grab(len(found)))
            except SourceUnavailable as over:
                assert "ended the stream" in str(over)
                return found


def test_all_pictures_of_a_playlist_come_over_tls(folder: Path, known: Authority) -> None:
    with serving(folder, tls(known)) as port:
        assert numbers(f"https://127.0.0.1:{port}/live.m3u8?tls_ca={known.cert}") == list(range(FRAMES))


def test_a_segment_of_a_server_that_nobody_vouches_for_is_not_read(
    folder: Path, known: Authority, tmp_path: Path
) -> None:
    where = {"film": "/film.ts"}
    with (
        serving(folder, tls(known), lambda: listed(where["film"])) as one,
        serving(folder, tls(Authority(tmp_path))) as other,
    ):
        playlist = f"https://127.0.0.1:{one}/made.m3u8"
        assert len(numbers(f"{playlist}?tls_ca={known.cert}")) == FRAMES

        where["film"] = f"https://127.0.0.1:{other}/film.ts"
        with pytest.raises(SourceUnavailable, match=rf"^127\.0\.0\.1:{other} shows a certificate that is not trusted"):
            opened(f"{playlist}?tls_ca={known.cert}")
        assert len(numbers(f"{playlist}?tls_verify=no")) == FRAMES


def test_a_playlist_without_tls_may_not_name_an_unknown_server_with_it_either(folder: Path, tmp_path: Path) -> None:
    with (
        serving(folder, tls(Authority(tmp_path))) as other,
        serving(folder, None, lambda: listed(f"https://127.0.0.1:{other}/film.ts")) as port,
        pytest.raises(SourceUnavailable, match="certificate that is not trusted"),
    ):
        opened(f"http://127.0.0.1:{port}/made.m3u8")


def test_the_login_of_the_address_is_sent_for_segments_too_and_only_to_its_own_server(folder: Path) -> None:
    heads, others = list[str](), list[str]()
    with serving(folder, heads=others) as other:
        wanted = listed("/film.ts", f"http://127.0.0.1:{other}/film.ts")
        with serving(folder, None, lambda: wanted, heads, locked=True) as port:
            assert len(numbers(f"http://some:hush@127.0.0.1:{port}/made.m3u8")) >= FRAMES

    logins = [head.split()[1] for head in heads if "Authorization" in head]
    assert {"/made.m3u8", "/film.ts"} <= set(logins)
    assert others and not any("Authorization" in head for head in others)


def test_parts_of_a_file_that_a_playlist_names_are_asked_for_by_range(folder: Path) -> None:
    size, heads = (folder / "film.ts").stat().st_size, list[str]()
    half = size // 188 // 2 * 188
    lines = [
        f"#EXTINF:0.4,\n#EXT-X-BYTERANGE:{length}@{at}\nfilm.ts" for at, length in ((0, half), (half, size - half))
    ]
    made = "\n".join(["#EXTM3U", "#EXT-X-VERSION:4", "#EXT-X-TARGETDURATION:5", *lines, "#EXT-X-ENDLIST", ""])

    with serving(folder, None, lambda: made, heads) as port:
        assert numbers(f"http://127.0.0.1:{port}/made.m3u8") == list(range(FRAMES))

    asked = [found[1] for head in heads if (found := re.search(r"Range: bytes=(\S+)", head))]
    assert asked == [f"0-{half - 1}", f"{half}-{size - 1}"]


def test_a_segment_that_is_gone_is_passed_over(folder: Path) -> None:
    with serving(folder, None, lambda: listed("film.ts", "gone.ts")) as port:
        assert len(numbers(f"http://127.0.0.1:{port}/made.m3u8")) == FRAMES


@pytest.mark.timeout(2 * PATIENCE)
def test_a_server_that_sends_no_segment_is_noticed(folder: Path) -> None:
    with (
        serving(folder, None, lambda: listed("stalls.ts")) as port,
        pytest.raises(SourceUnavailable, match=r"has sent nothing for 2\.1 s$"),
    ):
        opened(f"http://127.0.0.1:{port}/made.m3u8")


@pytest.mark.parametrize("named", ["file:///etc/passwd", "/%2e%2e/crypto", "data:video/mp2t;base64,AAAA"])
def test_nothing_but_http_is_read_through_a_playlist(folder: Path, named: str) -> None:
    with serving(folder, None, lambda: listed(named)) as port, pytest.raises(SourceUnavailable):
        opened(f"http://127.0.0.1:{port}/made.m3u8")


def test_playlists_are_told_from_films_by_how_they_begin() -> None:
    assert is_hls(b"#EXTM3U\n#EXT")
    assert is_hls(b"\xef\xbb\xbf#EXTM3U\r\n")
    assert not is_hls(b"\x47@\x00\x10")


@pytest.mark.parametrize(
    ("text", "name"),
    [("ffconcat version 1.0\nfile film.ts\n", "a list of files"), ("<MPD></MPD>", "a DASH manifest")],
)
def test_lists_that_ffmpeg_would_follow_by_itself_are_refused(folder: Path, text: str, name: str) -> None:
    with (
        serving(folder, None, lambda: text) as port,
        pytest.raises(SourceUnavailable, match=rf"sends {name}, which is not read$"),
    ):
        opened(f"http://127.0.0.1:{port}/made.m3u8")
