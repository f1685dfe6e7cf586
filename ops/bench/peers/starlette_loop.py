"""A peer to measure against: what one writes first with Starlette and uvicorn, a set of clients and a loop over them.

A program of its own and no part of the package. It speaks lines: `port N` when it listens; then `cpu` is answered with the
CPU seconds spent so far, and `say TRANSPORT TIMES BURST` writes that many bursts to all clients of a transport. `POST
/say/TRANSPORT` writes its body to them.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

TEXT = "x" * 100
HELLO = ": hello\n\n"

sockets: set[WebSocket] = set()
queues: set[asyncio.Queue[str]] = set()


async def listen(socket: WebSocket) -> None:
    await socket.accept()
    sockets.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        sockets.discard(socket)


async def stream(_request: Request) -> StreamingResponse:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def events() -> AsyncIterator[str]:
        queues.add(queue)
        try:
            yield HELLO
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    return StreamingResponse(events(), media_type="text/event-stream")


async def publish(request: Request) -> Response:
    await write(request.path_params["transport"], (await request.body()).decode())
    return Response(status_code=204)


async def write(transport: str, text: str) -> None:
    if transport == "websocket":
        for each in tuple(sockets):
            await each.send_text(text)
    else:
        event = f"data: {text}\n\n"
        for queue in queues:
            queue.put_nowait(event)


async def say(transport: str, times: int, burst: int) -> None:
    for _ in range(times):
        for _ in range(burst):
            await write(transport, TEXT)
        # One tick each, and the streams' own tasks have theirs.
        await asyncio.sleep(0.002)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    publisher = Route("/say/{transport}", publish, methods=["POST"])
    app = Starlette(routes=[WebSocketRoute("/ws", listen), Route("/sse", stream), publisher])
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        print("port", listener.getsockname()[1], flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).split():
            if line[0] == "say":
                await say(line[1], int(line[2]), int(line[3]))
            print(time.process_time(), flush=True)
        server.should_exit = server.force_exit = True


if __name__ == "__main__":
    uvloop.run(main())
