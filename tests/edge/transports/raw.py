"""Requests as bytes, for answers that no HTTP client would show."""

from __future__ import annotations

import asyncio

from tests.waiting import PATIENCE

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: Y2FsbGJvYXJkIGRvY3Rvcg==\r\n"


async def said(port: int, request: str, half_closed: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Sends bytes, ends our side where that is asked for, and reads to the end: status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE):
        writer.write(request.encode())
        if half_closed:
            writer.write_eof()
        whole = await reader.read()
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]) if first else 0, headers, body


def get(path: str, *headers: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "".join(each + "\r\n" for each in headers) + "\r\n"
