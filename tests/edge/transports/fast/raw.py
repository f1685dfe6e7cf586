"""Raw sockets to an edge, and the frames that come over them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from tests.edge.conftest import RunningEdge
from tests.waiting import PATIENCE, in_time

# Linux: socket(7).
SO_ATTACH_FILTER = 26


@contextlib.asynccontextmanager
async def connected(
    edge: RunningEdge, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw socket to the edge."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def handshake(
    edge: RunningEdge, session: str, behind: bytes = b"", offer: str = "", agreed: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw socket behind a WebSocket handshake; `behind` travels in one packet with it, `offer` is an extension."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /callbacks/sessions/{session}/ws HTTP/1.1\r\nHost: 127.0.0.1:{edge.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"{f'Sec-WebSocket-Extensions: {offer}' + chr(13) + chr(10) if offer else ''}\r\n"
    )
    async with connected(edge) as (reader, writer):
        writer.write(request.encode() + behind)
        head = await in_time(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 101")
        assert agreed in head if agreed else b"xtensions" not in head
        yield reader, writer


def drop_packets(pipe: socket.socket) -> None:
    """Has the kernel drop all that a socket is sent from here on, unacknowledged: to the other end it has vanished."""
    # Classic BPF: return 0.
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    pipe.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


async def until(reader: asyncio.StreamReader, sign: bytes) -> bytes:
    got = b""
    async with asyncio.timeout(PATIENCE):
        while sign not in got:
            piece = await reader.read(65536)
            assert piece, got
            got += piece
    return got


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One unmasked frame from the server."""
    async with asyncio.timeout(PATIENCE):
        first, second = await reader.readexactly(2)
        assert first & 0x80 and not second & 0x80
        size = second
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2), "big")
        return first & 0x7F, await reader.readexactly(size)


async def next_of(reader: asyncio.StreamReader, opcode: int, sign: bytes = b"") -> bytes:
    while True:
        found, payload = await next_frame(reader)
        if found == opcode and sign in payload:
            return payload
