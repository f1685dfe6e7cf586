"""The Starlette peer of the fan-out benchmark writes bursts to its WebSocket and SSE clients."""

from __future__ import annotations

import asyncio

import websockets

from ops.bench.peers import starlette_loop
from ops.bench.peers.starlette_loop import HELLO, TEXT
from tests.ops.bench.peers.peer import get, peer
from tests.waiting import PATIENCE


async def test_each_client_gets_the_bursts_of_its_transport() -> None:
    async with peer(starlette_loop) as running:
        port = int((await running.line()).removeprefix("port "))
        stream = await get(port, "/sse")
        head = await stream.until(HELLO.encode() + b"\r\n")
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", open_timeout=PATIENCE) as socket:
            spent = [float(await running.ask(order)) for order in ("say sse 1 2", "say websocket 2 1")]

            async with asyncio.timeout(PATIENCE):
                assert [await socket.recv(), await socket.recv()] == [TEXT, TEXT]
        assert head.startswith(b"HTTP/1.1 200 ") and b"text/event-stream" in head
        for _ in range(2):
            assert f"data: {TEXT}\n\n".encode() in await stream.until(b"\n\n\r\n")
        stream.close()

    assert 0 < spent[0] <= spent[1]
