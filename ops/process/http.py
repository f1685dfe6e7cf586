"""Asks a process over HTTP without a client library: this runs before anything else is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field


class Unanswered(OSError):
    """the server did not answer over HTTP"""


@dataclass(frozen=True)
class HttpAnswer:
    """One answer over HTTP; header names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def get(
    host: str,
    port: int,
    path: str,
    timeout: float = 2.0,
    method: str = "GET",
    body: bytes = b"",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpAnswer:
    """Sends one request and returns the answer. Raises OSError."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                send(writer, request(host, port, path, method, body, token, headers))
                head = await reader.readuntil(b"\r\n\r\n")
                answer = parse_head(head)
                length = answer.headers.get("content-length")
                content = await (reader.readexactly(int(length)) if length else reader.read())
                return HttpAnswer(answer.status, answer.headers, content)
            finally:
                writer.close()
    except ConnectionRefusedError as fault:
        # asyncio's own text names a call and an address twice.
        raise ConnectionRefusedError(fault.errno, "connection refused") from None
    except (EOFError, asyncio.LimitOverrunError, ValueError):
        raise Unanswered("what answers there does not speak HTTP") from None
    except TimeoutError:
        raise Unanswered(f"no answer within {timeout:g} s") from None


def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Writes to a stream. Raises ConnectionResetError where its socket is closed: uvloop says RuntimeError, asyncio nothing."""
    try:
        writer.write(data)
    except RuntimeError:
        raise ConnectionResetError("the other side closed the connection") from None


def request(
    host: str,
    port: int,
    path: str,
    method: str = "GET",
    body: bytes = b"",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Builds an HTTP request with `Connection: close`."""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    name = f"[{host}]" if ":" in host else host
    proof = f"Authorization: Bearer {token}\r\n" if token else ""
    more = {"Connection": "close"} | dict(headers or {})
    proof += "".join(f"{each}: {value}\r\n" for each, value in more.items())
    return f"{method} {path} HTTP/1.1\r\nHost: {name}:{port}\r\n{proof}{content}\r\n".encode() + body


def parse_head(head: bytes) -> HttpAnswer:
    """Reads status and headers; raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ValueError(first)
    pairs = (line.partition(":") for line in lines if ":" in line)
    return HttpAnswer(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})
