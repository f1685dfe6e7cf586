"""Watches a camera with several clients, and measures what each is shown: rate, age of pictures, repeats.

`python -m ops.bench.camera_viewers` takes one JSON order a line: `{"do": "watch", "port": …, "viewers": [KIND, …], "seconds": …}`. The age
of a picture is from its capture, as its header says, until the client has all of it. Kinds:

- `quick` reads and acknowledges at once; `h264` does the same with that codec
- `slow` needs 200 ms for each picture before it acknowledges it; `mjpeg-slow` as long, over MJPEG, which has no acknowledgement
- `stalled` opens the connection and reads nothing
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from ops.bench.readers import request
from router.frame import unpack

HOST = "127.0.0.1"
SLOW_SECONDS = 0.2
FIRST_SECONDS = 30.0
# What a client keeps that it has not looked at: a slow one is to be slow, and not to fill its own memory.
LIMIT = 1 << 13
# After the first picture: what the encoders and caches of the start do is not what is measured.
REST = 2.0
_BINARY = 2


@dataclass
class ViewerLog:
    """What one client was shown."""

    kind: str
    # Set when any of the viewers has its first picture.
    first: asyncio.Event
    ages: list[float] = field(default_factory=list)
    pictures: int = 0
    bytes: int = 0
    # Pictures that were shown as new and were not newer than the one before.
    stale: int = 0
    began: float = 0.0
    passed: float = 0.0
    newest: tuple[int, int] = (0, 0)
    format: str = ""

    def take(self, header: dict[str, Any], size: int) -> None:
        """Notes a picture that has arrived."""
        number = int(header.get("life") or 0), int(header["seq"])
        if header.get("fresh") is False:
            return
        if number <= self.newest:
            self.stale += 1
        self.newest = number
        self.format = header.get("format", "")
        now = time.monotonic()
        if not self.began:
            self.began = now + REST
            self.first.set()
        if now >= self.began:
            self.pictures += 1
            self.bytes += size
            self.ages.append(max(0.0, time.time() * 1000.0 - header["time"]))
            self.passed = now - self.began

    def answer(self) -> dict[str, Any]:
        """The figures: ages in ms."""
        ages = sorted(self.ages)
        return {
            "kind": self.kind,
            "pictures": self.pictures,
            "fps": (self.pictures - 1) / self.passed if self.passed > 0 else 0.0,
            "p50": ages[len(ages) // 2] if ages else None,
            "p99": ages[int(len(ages) * 0.99)] if ages else None,
            "bytes": self.bytes,
            "stale": self.stale,
            "format": self.format,
        }


async def watch(port: int, viewers: list[str], seconds: float, camera: str = "main") -> list[dict[str, Any]]:
    """Watches with all of them at once, for so long after the first picture."""
    first = asyncio.Event()
    logs = [ViewerLog(kind, first) for kind in viewers]
    tasks = [asyncio.create_task(_view(log, port, camera), name=log.kind) for log in logs]
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            await first.wait()
        await asyncio.sleep(REST + seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [log.answer() for log in logs]


async def _view(log: ViewerLog, port: int, camera: str) -> None:
    mjpeg = log.kind.startswith("mjpeg")
    path = f"/cameras/{camera}/mjpeg" if mjpeg else f"/cameras/{camera}/ws"
    if log.kind == "h264":
        path += "?format=h264"
    reader, writer = await asyncio.open_connection(HOST, port, limit=LIMIT)
    try:
        writer.write(request(f"{HOST}:{port}", path, "http" if mjpeg else "websocket"))
        head = await reader.readuntil(b"\r\n\r\n")
        if log.kind == "stalled":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        await (_mjpeg(log, reader, chunked=b"chunked" in head.lower()) if mjpeg else _socket(log, reader, writer))
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _socket(log: ViewerLog, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        opcode, payload = await _message(reader)
        if opcode != _BINARY:
            continue
        header, body = unpack(payload)
        log.take(header, len(body))
        if log.kind == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        age = round(time.time() * 1000.0 - header["time"], 1)
        shown = {"control": "shown", "seq": header["seq"], "life": header.get("life"), "age": age}
        writer.write(_masked(json.dumps(shown).encode()))


async def _message(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length = await reader.readexactly(2)
    if length == 126:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    return first & 15, await reader.readexactly(length)


def _masked(text: bytes) -> bytes:
    """A client's text message of less than 64 kB; the mask is zero, which leaves the text as it is."""
    size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0xFE,)) + struct.pack(">H", len(text))
    return b"\x81" + size + bytes(4) + text


async def _mjpeg(log: ViewerLog, reader: asyncio.StreamReader, *, chunked: bool) -> None:
    source = _Unchunked(reader) if chunked else reader
    number = 0
    while True:
        head = await source.readuntil(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n") if b": " in line)
        body = await source.readexactly(int(lines[b"Content-Length"]))
        number += 1
        log.take({"seq": number, "time": float(lines[b"X-Timestamp"])}, len(body))
        if log.kind == "mjpeg-slow":
            await asyncio.sleep(SLOW_SECONDS)


class _Unchunked:
    """Reads a body that comes in chunks; only as far ahead as the chunk that is needed."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = bytearray()

    async def readuntil(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            await self._more()
        return self._take(at + len(mark))

    async def readexactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _more(self) -> None:
        size = int(await self._reader.readline(), 16)
        self._buffer += await self._reader.readexactly(size)
        await self._reader.readexactly(2)


def main() -> None:
    """Takes orders until its input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            found = asyncio.run(watch(order["port"], order["viewers"], order["seconds"], order.get("camera", "main")))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
            print(json.dumps({"fault": str(fault) or "no picture came"}), flush=True)
        else:
            print(json.dumps({"viewers": found}), flush=True)


if __name__ == "__main__":
    main()
