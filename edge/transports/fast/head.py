"""Reads the head of a request that opens a stream of a session, and writes the heads of the answers.

Only the plain case is read here: one whole head in one packet, of a request that has no body, with no header twice. What is not
plain is none of this module's business, and nothing is refused here: uvicorn's protocols and the application read it again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.server import ServerProtocol

from edge.transports.fast.upgrade import COMPRESSION, VERSION

# 8 KiB: what common proxies take as one header line; more than any of these heads has.
MAX_HEAD = 8192
# RFC 6455 §1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Each part is told from the next by its first character, so that matching takes no longer than reading.
_HEAD = re.compile(
    rb"GET /callbacks/sessions/(sess_[0-9a-z]{16,40})/(sse|ws)(?:\?([!-\"$-~]*))? HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
# A request with one of these is not plain.
_OTHERS = frozenset({b"content-length", b"transfer-encoding", b"expect", b"traceparent"})
# A list of tokens (RFC 9110 §5.6.1 and §5.6.2) without empty elements: that of RFC 6455 §4.1's Connection and Sec-WebSocket-Protocol.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TOKENS = re.compile(_TOKEN + rb"(?:[ \t]*,[ \t]*" + _TOKEN + rb")*")

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A request for a stream of a session, as it was sent: header names are in lower case."""

    session_id: str
    is_socket: bool
    query: bytes
    headers: Mapping[bytes, bytes]

    def text(self, name: bytes) -> str | None:
        """A header as text; None where it was not sent."""
        found = self.headers.get(name)
        return None if found is None else found.decode("ascii")

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that a WebSocket's client offers, in the order that it prefers."""
        offered = self.headers.get(b"sec-websocket-protocol", b"")
        return [name.strip() for name in offered.decode("ascii").split(",")] if offered else []


def read_head(data: bytes) -> StreamRequest | None:
    """Reads a whole request; None where it is not for a stream of a session, or not plain."""
    if len(data) > MAX_HEAD:
        return None
    found = _HEAD.fullmatch(data)
    if found is None:
        return None
    session_id, way, query, lines = found.groups()
    headers: dict[bytes, bytes] = {}
    count = 0
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip(b" \t")
        count += 1
    is_socket = way == b"ws"
    if len(headers) != count or not _OTHERS.isdisjoint(headers) or is_socket != (b"upgrade" in headers):
        return None
    return StreamRequest(session_id.decode("ascii"), is_socket, query or b"", headers)


@lru_cache(256)
def _negotiate(offered: bytes) -> tuple[bytes, bool] | None:
    """The extensions that are agreed to, and whether messages are compressed; None where the offer is not as RFC 6455 wants it."""
    protocol = ServerProtocol(extensions=[COMPRESSION])
    try:
        agreed, extensions = protocol.process_extensions(
            Headers([("Sec-WebSocket-Extensions", offered.decode("ascii"))])
        )
    except InvalidHandshake:
        return None
    return (agreed or "").encode("ascii"), bool(extensions)


def accept_socket(headers: Mapping[bytes, bytes]) -> tuple[bytes, bool] | None:
    """What accepts a WebSocket, as lines of a head, and whether its messages are compressed.

    None where the handshake is not as RFC 6455 wants it.
    """
    key = headers.get(b"sec-websocket-key", b"")
    subprotocols = headers.get(b"sec-websocket-protocol")
    if (
        headers[b"upgrade"].lower() != b"websocket"
        or not _has_upgrade(headers.get(b"connection", b""))
        or headers.get(b"sec-websocket-version") != VERSION.encode()
        or (subprotocols is not None and _TOKENS.fullmatch(subprotocols) is None)
        or not _is_key(key)
    ):
        return None
    offered = headers.get(b"sec-websocket-extensions")
    negotiated = _negotiate(offered) if offered is not None else (b"", False)
    if negotiated is None:
        return None
    agreed, compresses = negotiated
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    lines = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % accept
    if agreed:
        lines += b"Sec-WebSocket-Extensions: %b\r\n" % agreed
    return lines, compresses


@lru_cache(256)
def _has_upgrade(options: bytes) -> bool:
    if _TOKENS.fullmatch(options) is None:
        return False
    return b"upgrade" in [option.strip(b" \t") for option in options.lower().split(b",")]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def socket_head(accepting: bytes, headers: bytes, subprotocol: str | None) -> bytes:
    """The head that accepts a WebSocket; `accepting` is of `accept_socket`, and `headers` of `lines_of`."""
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode("ascii") if subprotocol else b""
    return b"HTTP/1.1 101 Switching Protocols\r\n%b%b%b\r\n" % (accepting, headers, chosen)


def stream_head(headers: bytes) -> bytes:
    """The head of a stream of server-sent events that ends with its connection; `headers` is of `lines_of`."""
    return b"HTTP/1.1 200 OK\r\n%bconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" % headers


def lines_of(headers: RawHeaders) -> bytes:
    """Headers as the lines of a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
