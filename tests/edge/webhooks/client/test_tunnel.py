"""A tunnel is open once the proxy has answered 2xx, and nothing else."""

from __future__ import annotations

import asyncio
import time

import pytest
from yarl import URL

from edge.webhooks.client.answer import BadAnswer
from edge.webhooks.client.exchange import Exchange
from edge.webhooks.client.proxy import Proxy
from edge.webhooks.client.tunnel import tunnel
from edge.webhooks.client.wire import Wire
from edge.webhooks.shortage import ProxyFailed

PROXY = Proxy(URL("http://proxy:3128"), "Basic dTpw")


async def through(answer: bytes, host: str = "example.com") -> bytes:
    """Asks a proxy that gives this answer for a tunnel; gives what it was asked."""
    asked = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", port)
        try:
            now = time.monotonic()
            await tunnel(wire, host, 443, PROXY, "Callboard/1", Exchange(now, now + 60.0))
        finally:
            wire.close()
    return bytes(await asked)


async def test_the_proxy_is_asked_for_the_receiver_with_its_credentials():
    asked = await through(b"HTTP/1.1 200 OK\r\n\r\n", "2001:db8::1")

    assert asked.startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n")
    assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in asked


async def test_a_refusal_is_told_with_its_status_and_text():
    with pytest.raises(ProxyFailed, match=r"answered 407: who\?") as failed:
        await through(b"HTTP/1.1 407 Authentication\r\nContent-Length: 4\r\n\r\nwho?")

    assert failed.value.status == 407


async def test_bytes_behind_the_answer_are_refused():
    with pytest.raises(BadAnswer):
        await through(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
