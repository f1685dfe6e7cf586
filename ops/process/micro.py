"""This file is where the cast is called by name: who answers `$SRV.PING`, and whether the edge says that it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.codec import from_json
from router.errors import BadEvent, BrokerError
from router.nats.connection import Connection


async def answering(connection: Connection, names: set[str], within: float) -> dict[str, list[dict[str, Any]]]:
    """Asks all micro services who they are; returns once all those named have answered, or the time is over."""
    heard: dict[str, list[dict[str, Any]]] = {}
    complete = asyncio.Event()

    def answered(_subject: str, _reply: str, payload: bytes, _raw: bytes) -> None:
        try:
            answer = from_json(payload)
        except BadEvent:
            return
        if isinstance(answer, dict) and isinstance(answer.get("name"), str):
            heard.setdefault(answer["name"], []).append(answer)
            if names <= heard.keys():
                complete.set()

    address = connection.expect(answered)
    try:
        await connection.send("$SRV.PING", b"", reply=address)
        async with asyncio.timeout(within):
            await complete.wait()
    except (TimeoutError, BrokerError):
        pass
    finally:
        connection.forget(address)
    return heard


class Unanswered(OSError):
    """the server did not answer over HTTP"""


@dataclass(frozen=True)
class Answer:
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
) -> Answer:
    """Asks the edge over HTTP, without a client library: this runs before anything else is loaded. Raises OSError."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request(host, port, path, method, body, token, headers))
                head = await reader.readuntil(b"\r\n\r\n")
                answer = parse_head(head)
                length = answer.headers.get("content-length")
                content = await (reader.readexactly(int(length)) if length else reader.read())
                return Answer(answer.status, answer.headers, content)
            finally:
                writer.close()
    except ConnectionRefusedError as fault:
        # asyncio's own text names a call and an address twice.
        raise ConnectionRefusedError(fault.errno, "connection refused") from None
    except (EOFError, asyncio.LimitOverrunError, ValueError):
        raise Unanswered("what answers there does not speak HTTP") from None
    except TimeoutError:
        raise Unanswered(f"no answer within {timeout:g} s") from None


def request(
    host: str,
    port: int,
    path: str,
    method: str = "GET",
    body: bytes = b"",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Writes an HTTP request that closes the connection behind it."""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    name = f"[{host}]" if ":" in host else host
    proof = f"Authorization: Bearer {token}\r\n" if token else ""
    more = {"Connection": "close"} | dict(headers or {})
    proof += "".join(f"{each}: {value}\r\n" for each, value in more.items())
    return f"{method} {path} HTTP/1.1\r\nHost: {name}:{port}\r\n{proof}{content}\r\n".encode() + body


def parse_head(head: bytes) -> Answer:
    """Reads status and headers; raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ValueError(first)
    pairs = (line.partition(":") for line in lines if ":" in line)
    return Answer(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs})
