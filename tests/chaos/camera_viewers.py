"""Viewers of a camera as the page's player is: over WebSocket and MJPEG, back by themselves after each loss."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from actors.camera.sources.simulated import read_strip

# The waits of the player, `edge/console/client/player.js`.
FIRST_WAIT, LONGEST_WAIT = 0.2, 1.5
# A connection that brings nothing for so long is given up: longer than any part needs to come back.
SILENCE = 8.0
LOST = (aiohttp.ClientError, OSError, TimeoutError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as a viewer got it: the order that its header says, and what is burnt into it."""

    at: float  # monotonic
    order: tuple[int, int]
    fresh: bool
    number: int | None  # None where the picture is damaged
    taken: int = 0  # ms since the epoch, modulo 2³²


class CameraViewer:
    """What all viewers do: come back, and show only what is newer than what is shown."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self.got: list[Seen] = []
        self.shown: list[Seen] = []
        self.connections = 0
        self._http = http
        self._address = address
        self._tries = 0

    async def watch(self) -> None:
        """Watches until it is cancelled."""
        while True:
            try:
                await self.connect()
            except LOST:
                pass
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**self._tries)
            self._tries = min(self._tries + 1, 8)
            await asyncio.sleep(random.uniform(0, wait))

    async def connect(self) -> None:
        """Watches one connection to its end."""
        raise NotImplementedError

    def take(self, order: tuple[int, int], fresh: bool, body: bytes) -> None:
        """Takes one picture that came."""
        self._tries = 0
        pixels = np.asarray(Image.open(BytesIO(body)).convert("RGB"))
        number, taken = read_strip(pixels) or (None, 0)
        seen = Seen(time.monotonic(), order, fresh, number, taken)
        self.got.append(seen)
        if fresh and (not self.shown or order > self.shown[-1].order):
            self.shown.append(seen)

    def shows_after(self, wall: float) -> Seen | None:
        """The first picture shown that was taken after a moment, in seconds since the epoch."""
        first: Seen | None = None
        for seen in reversed(self.shown):
            if seen.number is None:
                continue
            if not 0 < (seen.taken - int(wall * 1000)) % (1 << 32) < 1 << 31:
                break
            first = seen
        return first


class WebSocketViewer(CameraViewer):
    """Says of each picture that it was shown, as the player does."""

    async def connect(self) -> None:
        async with self._http.ws_connect(f"{self._address}/ws?format=jpeg", max_msg_size=0, heartbeat=4.0) as socket:
            self.connections += 1
            while True:
                message = await socket.receive(timeout=SILENCE)
                if message.type is aiohttp.WSMsgType.TEXT:
                    continue  # what the server says of rungs and states
                if message.type is not aiohttp.WSMsgType.BINARY:
                    return
                length = int.from_bytes(message.data[:4], "little")
                header: dict[str, Any] = json.loads(message.data[4 : 4 + length])
                self.take((header["life"], header["seq"]), header.get("fresh") is not False, message.data[4 + length :])
                shown = {"control": "shown", "seq": header["seq"], "life": header["life"]}
                await socket.send_str(json.dumps(shown))


class MjpegViewer(CameraViewer):
    """Reads the parts of multipart/x-mixed-replace."""

    async def connect(self) -> None:
        async with self._http.get(f"{self._address}/mjpeg") as answer:
            if answer.status != 200:
                return
            self.connections += 1
            while True:
                async with asyncio.timeout(SILENCE):
                    headers = await self._headers(answer.content)
                    body = await answer.content.readexactly(int(headers["content-length"]))
                life, seq = headers["x-frame"].split(".")
                self.take((int(life), int(seq)), headers.get("x-fresh") != "false", body)

    async def _headers(self, content: aiohttp.StreamReader) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := await content.readline():
            text = line.decode("ascii").strip()
            if not text and headers:
                return headers
            if ":" in text:
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
        raise EOFError
