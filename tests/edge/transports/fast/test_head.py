"""Heads of requests for streams: the plain ones are read as uvicorn reads them, and all others are left to it."""

from __future__ import annotations

import time

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from edge.transports.fast.head import MAX_HEAD, accept_socket, lines_of, read_head, socket_head, stream_head
from edge.transports.fast.upgrade import COMPRESSION

SESSION = "sess_" + "0a" * 12
PLAIN = f"GET /callbacks/sessions/{SESSION}/sse HTTP/1.1\r\nHost: localhost:8000\r\nAccept: text/event-stream\r\n\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SOCKET = (
    f"GET /callbacks/sessions/{SESSION}/ws?cursor=now HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: callboard.v1,  bearer.x\r\n\r\n"
)


def test_a_stream_s_request_is_read() -> None:
    asked = read_head(PLAIN.encode())

    assert asked is not None
    assert (asked.session_id, asked.is_socket, asked.query) == (SESSION, False, b"")
    assert asked.headers == {b"host": b"localhost:8000", b"accept": b"text/event-stream"}
    assert asked.text(b"host") == "localhost:8000" and asked.text(b"origin") is None
    assert asked.subprotocols == []


def test_a_socket_s_request_is_read() -> None:
    asked = read_head(SOCKET.encode())

    assert asked is not None
    assert (asked.session_id, asked.is_socket, asked.query) == (SESSION, True, b"cursor=now")
    assert asked.subprotocols == ["callboard.v1", "bearer.x"]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("nothing", ""),
        ("another method", PLAIN.replace("GET", "HEAD")),
        ("HTTP/1.0", PLAIN.replace("1.1", "1.0")),
        ("another path", PLAIN.replace("/sse", "/events")),
        ("a path with an escape", PLAIN.replace("/sse", "/%73se")),
        ("a path with more", PLAIN.replace("/sse", "/sse/")),
        ("a whole address", PLAIN.replace("/callbacks", "http://localhost/callbacks")),
        ("a fragment", PLAIN.replace("/sse", "/sse?cursor=now#here")),
        ("a session that cannot be", PLAIN.replace("sess_", "SESS_")),
        ("half a head", PLAIN[:-2]),
        ("a body", PLAIN + "x"),
        ("a second request", PLAIN + PLAIN),
        ("a length", PLAIN.replace("\r\nAccept", "\r\nContent-Length: 0\r\nAccept")),
        ("a coding", PLAIN.replace("\r\nAccept", "\r\nTransfer-Encoding: chunked\r\nAccept")),
        ("an expectation", PLAIN.replace("\r\nAccept", "\r\nExpect: 100-continue\r\nAccept")),
        ("a trace", PLAIN.replace("\r\nAccept", "\r\ntraceparent: 00-1-2-01\r\nAccept")),
        ("a header twice", PLAIN.replace("\r\nAccept", "\r\nhost: evil\r\nAccept")),
        ("a folded header", PLAIN.replace("\r\nAccept", "\r\n more\r\nAccept")),
        ("a space before the colon", PLAIN.replace("Host:", "Host :")),
        ("a line feed alone", PLAIN.replace("\r\nAccept", "\nAccept")),
        ("a zero", PLAIN.replace("localhost", "local\0host")),
        ("a letter that is none", PLAIN.replace("localhost", "locälhost")),
        ("no headers", f"GET /callbacks/sessions/{SESSION}/sse HTTP/1.1\r\n\r\n"),
        ("an upgrade of a stream", PLAIN.replace("\r\nAccept", "\r\nUpgrade: h2c\r\nAccept")),
        ("a socket without an upgrade", SOCKET.replace("Upgrade: websocket\r\n", "")),
        ("a frame behind it", SOCKET + "\x81\x80"),
        ("too much", PLAIN.replace("\r\nAccept", f"\r\nX-A: {'a' * MAX_HEAD}\r\nAccept")),
    ],
)
def test_what_is_not_plain_is_left_alone(name: str, head: str) -> None:
    assert read_head(head.encode("latin-1")) is None, name


class Parsed:
    """What uvicorn's parser reads."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = 0
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.complete += 1


_NAMES = st.text("abcXYZ-_!~09", min_size=1, max_size=12)
# Most values are such as clients send, and some are not.
_VALUES = st.text(' \t!~azAZ09:;,="/', max_size=20) | st.text(
    st.characters(min_codepoint=9, max_codepoint=255), max_size=8
)
_PIECES = st.sampled_from(["\r\n", "\n", "\r", " ", "\t", ":", "\0", "Host: a", "Content-Length: 3", "x: y", ""])


@settings(max_examples=1000)
@given(
    st.lists(st.tuples(_NAMES, _VALUES), min_size=1, max_size=6),
    st.text("abc=&%2F?/:@!~ #\x7f", max_size=8),
    st.lists(st.tuples(st.integers(0, 400), _PIECES), max_size=2),
)
def test_whatever_is_read_the_parser_reads_too_and_alike(
    headers: list[tuple[str, str]], query: str, pieces: list[tuple[int, str]]
) -> None:
    head = f"GET /callbacks/sessions/{SESSION}/sse?{query} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    for place, piece in pieces:
        head = head[:place] + piece + head[place:]
    data = head.encode("latin-1")

    asked = read_head(data)

    if asked is not None:
        parsed = Parsed(data)
        url = httptools.parse_url(parsed.url)
        assert (parsed.method, parsed.complete) == (b"GET", 1)
        assert url.path == f"/callbacks/sessions/{SESSION}/sse".encode()
        assert (url.query or b"", asked.session_id) == (asked.query, SESSION)
        assert {name: value.strip(b" \t") for name, value in parsed.headers} == asked.headers
        assert len(parsed.headers) == len(asked.headers)


def test_a_head_made_to_be_slow_is_read_in_no_time() -> None:
    heads = [
        f"GET /callbacks/sessions/{SESSION}/sse HTTP/1.1\r\n" + body
        for body in ("a: \t \t b\r\n" * 700, "a:" + " " * 7000, ("a" * 100 + ":\r\n") * 70, "a:\r" * 2000)
    ]
    begun = time.thread_time()
    for head in heads * 10:
        read_head(head.encode())

    assert time.thread_time() - begun < 2.0


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9",
        "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover",
        "bbf-usp-protocol; =",
    ],
)
def test_a_socket_is_accepted_as_the_library_accepts_it(offered: str | None) -> None:
    extra = f"Sec-WebSocket-Extensions: {offered}\r\n" if offered else ""
    asked = read_head(SOCKET.replace("\r\n\r\n", f"\r\n{extra}\r\n").encode())
    assert asked is not None
    protocol = ServerProtocol(extensions=[COMPRESSION])
    headers = Headers([(name.decode(), value.decode()) for name, value in asked.headers.items()])
    expected = protocol.accept(Request("/", headers))

    accepted = accept_socket(asked.headers)

    if expected.status_code != 101:
        assert accepted is None
        return
    assert accepted is not None
    lines, compresses = accepted
    del expected.headers["Date"]
    assert {line.decode() for line in lines.splitlines()} == {
        f"{name}: {value}" for name, value in expected.headers.raw_items()
    }
    assert compresses == bool(protocol.extensions)
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KEY, ""),
        (KEY, "dGhlIHNhbXBsZSBub25jZQ"),
        (KEY, "c2hvcnQ="),
        (KEY, "dGhlIHNhbXBsZSBub25j\tZQ=="),
        ("Version: 13", "Version: 8"),
        ("Upgrade: websocket", "Upgrade: websocket, h2c"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("keep-alive, Upgrade", "Upgrade, a b"),
        ("keep-alive, Upgrade", "Upgrade; q=1"),
        ("keep-alive, Upgrade", "up grade"),
        ("callboard.v1,  bearer.x", "callboard.v1, bearer.x y"),
        ("callboard.v1,  bearer.x", "callboard.v1; bearer.x"),
        ("callboard.v1,  bearer.x", '"callboard.v1"'),
        ("callboard.v1,  bearer.x", "bearer.a/b=="),
        ("callboard.v1,  bearer.x", ""),
        ("callboard.v1,  bearer.x", ","),
        (f"Sec-WebSocket-Key: {KEY}\r\n", ""),
        ("Sec-WebSocket-Version: 13\r\n", ""),
    ],
)
def test_a_handshake_that_is_not_as_it_should_be_is_left_alone(old: str, new: str) -> None:
    asked = read_head(SOCKET.replace(old, new).encode())

    assert asked is not None and accept_socket(asked.headers) is None


def _handshakes(*usual: str) -> st.SearchStrategy[str]:
    """Values of a header: those that clients send, such with pieces changed, and others."""
    pieces = st.sampled_from([*usual, ",", ", ", " ", "\t", ";", "=", "/", '"', "x", "upgrade", "13"])
    return st.sampled_from(usual) | st.lists(pieces, max_size=4).map("".join)


@settings(max_examples=1000)
@given(
    st.fixed_dictionaries(
        {
            "Upgrade": _handshakes("websocket", "WebSocket"),
            "Connection": _handshakes("Upgrade", "keep-alive, Upgrade"),
            "Sec-WebSocket-Key": _handshakes(KEY),
            "Sec-WebSocket-Version": _handshakes("13"),
        },
        optional={
            "Sec-WebSocket-Protocol": _handshakes("callboard.v1", "bearer.e30.e30.x"),
            "Sec-WebSocket-Extensions": _handshakes("permessage-deflate", "client_max_window_bits"),
        },
    )
)
def test_a_handshake_is_accepted_only_where_the_library_accepts_it(given_headers: dict[str, str]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in given_headers.items())
    asked = read_head(f"GET /callbacks/sessions/{SESSION}/ws HTTP/1.1\r\n{lines}\r\n".encode())
    assert asked is not None

    if accept_socket(asked.headers) is not None:
        headers = Headers([(name.decode(), value.decode()) for name, value in asked.headers.items()])
        ServerProtocol(extensions=[COMPRESSION]).process_request(Request("/", headers))


def test_heads_are_written() -> None:
    lines = lines_of([(b"date", b"today"), (b"x-a", b"b")])

    assert stream_head(lines) == (
        b"HTTP/1.1 200 OK\r\ndate: today\r\nx-a: b\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    assert socket_head(b"Upgrade: websocket\r\n", lines, "callboard.v1") == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\ndate: today\r\nx-a: b\r\n"
        b"Sec-WebSocket-Protocol: callboard.v1\r\n\r\n"
    )
    assert socket_head(b"", lines, None).endswith(b"x-a: b\r\n\r\n")
