"""A network camera for chaos tests: Motion JPEG over HTTP with burnt-in numbers, which dies, hangs and spoils pictures."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from io import BytesIO

import numpy as np
from PIL import Image

from actors.camera.sources.simulated import write_strip
from router.nats.embedded import free_port

WIDTH, HEIGHT = 320, 240
FPS = 20.0
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=shot\r\nConnection: close\r\n\r\n--shot\r\n"
)


class CameraServer:
    """Numbers its pictures over all its lives, so that a viewer sees from a picture alone which one it is."""

    def __init__(self) -> None:
        self.port = free_port()
        self.number = 0
        self._background = np.random.default_rng(17).integers(40, 200, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._hung: set[asyncio.StreamWriter] = set()
        self._spoilt = False
        self._picture = b""
        self._next = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[CameraServer]:
        """Takes pictures and serves them while the block runs."""
        await self._listen()
        taking = asyncio.create_task(self._take())
        try:
            yield self
        finally:
            taking.cancel()
            self._die()

    async def restart(self, away: float) -> None:
        """Dies with all its connections, and is back some seconds later."""
        self._die()
        await asyncio.sleep(away)
        await self._listen()

    def hang(self) -> None:
        """Sends nothing more on the connections that there are; new ones are served."""
        self._hung |= self._open

    def spoil(self) -> None:
        """Sends one picture that is none."""
        self._spoilt = True

    def _die(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        self._hung.clear()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _take(self) -> None:
        begun = time.monotonic()
        while True:
            self.number += 1
            card = self._background.repeat(16, axis=0).repeat(16, axis=1)
            card[:, self.number * 4 % WIDTH] = 255
            write_strip(card, self.number, int(time.time() * 1000))
            with BytesIO() as file:
                Image.fromarray(card).save(file, "JPEG", quality=85)
                self._picture = file.getvalue()
            self._next.set()
            self._next = asyncio.Event()
            await asyncio.sleep(max(0.0, begun + self.number / FPS - time.monotonic()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_HEAD)
            while not writer.is_closing():
                await self._next.wait()
                if writer in self._hung:
                    continue
                picture = self._picture
                if self._spoilt:
                    self._spoilt, picture = False, picture[:100]
                writer.write(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
                writer.write(picture + b"\r\n--shot\r\n")
                await writer.drain()
        except (OSError, EOFError, RuntimeError):
            # uvloop's transports raise RuntimeError where the other side closed between two writes.
            pass
        finally:
            self._open.discard(writer)
            self._hung.discard(writer)
            writer.close()
