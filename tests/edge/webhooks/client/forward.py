"""A forward proxy for tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.sender import Sender


class Forward:
    """A forward proxy that tunnels whatever is asked for to one port of this machine, and keeps what it was asked."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.asked: list[dict[str, str]] = []
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        return [each["target"] for each in self.asked]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # Cancelled at the end of the test, of which nobody needs to hear.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines if line)}
            self.asked.append({**headers, "method": method, "target": target})
            writer.write(self.answer)
            if self.answer.startswith(b"HTTP/1.1 200"):
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
                try:
                    await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))
                finally:
                    back.transport.abort()
            elif not self.answer:
                await reader.read()
        writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[Forward]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def post(sender: Sender, url: str, **more: Any) -> Any:
    return await sender.post(EndpointSettings(url=url, **more), "d1", "sess_1", b"{}")
