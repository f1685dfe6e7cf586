"""Queues a command's lines until they are handed to its run: bounded, and in batches where there are many.

While NATS takes them, a command that writes faster is slowed down, as by any pipe. Where it takes nothing the run puts them on
disk, so that publishing never blocks the command for long. Only what is faster than that is dropped, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NamedTuple

from ops.cli.progress import OutputLine, Progress
from router.sdk.run import Run

# 20,000 lines or 8 MiB: minutes of a talkative build while NATS is away.
SPOOL_LINES = 20_000
SPOOL_BYTES = 8 * 1024 * 1024
# 200 lines or 32 kB become one event under load, so that a flood is hundreds of events a second and not 100,000.
BATCH_LINES = 200
BATCH_BYTES = 32 * 1024
# How long a full spool may hold up the command once NATS takes nothing.
STALL_SECONDS = 2.0
# 32 events that are not stored yet: few, so that what comes faster piles up here, where it is put together.
UNSENT_EVENTS = 32
# 10 ms between two events while they go to the disk, for the same reason: 20,000 lines a second.
AWAY_PAUSE = 0.01


class _Waiting(NamedTuple):
    stream: str
    number: int
    line: OutputLine


class Spool:
    """The lines of one run that wait to be published, and the newest progress."""

    def __init__(self, lines: int = SPOOL_LINES) -> None:
        self.dropped = 0
        self._capacity = lines
        self._lines: deque[_Waiting] = deque()
        self._bytes = 0
        self._number = 0
        self._gap = 0  # dropped since the last line that was said
        self._progress: Progress | None = None
        self._told: Progress | None = None
        self._closed = False
        self._stalled = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def full(self) -> bool:
        return len(self._lines) >= self._capacity or self._bytes >= SPOOL_BYTES

    def add(self, stream: str, line: OutputLine) -> None:
        """Puts a line behind the others; where it is full, the oldest goes."""
        while self.full:
            self._bytes -= len(self._lines.popleft().line.text)
            self.dropped += 1
            self._gap += 1
        self._number += 1
        self._lines.append(_Waiting(stream, self._number, line))
        self._bytes += len(line.text)
        self._filled.set()

    def tell(self, progress: Progress) -> None:
        """Keeps the newest progress; the same once more, such as that of a line whose end came later, is no news."""
        if progress == self._told:
            return
        self._progress = self._told = progress
        self._filled.set()

    async def room(self) -> None:
        """Backpressure: waits while the spool is full and NATS still takes lines, two seconds at most."""
        while self.full and not self._stalled:
            self._room.clear()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                self._stalled = True

    def close(self) -> None:
        """Takes no more lines; `relay` returns once all are published."""
        self._closed = True
        self._filled.set()

    async def relay(self, run: Run) -> None:
        """Publishes lines until the spool is closed and empty."""
        while True:
            while not self._lines and self._progress is None:
                if self._closed:
                    return
                self._filled.clear()
                await self._filled.wait()
            progress, self._progress = self._progress, None
            if self._lines:
                # One at a time while they come slowly; what has piled up while the last was said goes together.
                data, self._gap = self._batch(), 0
                await run.emit("output", data)
                if not await run.keep_pace(UNSENT_EVENTS) and not self._closed:
                    await asyncio.sleep(AWAY_PAUSE)
            if progress is not None:
                await run.progress(**progress.data())
            self._stalled = False
            self._room.set()

    def _batch(self) -> dict[str, Any]:
        """Takes the oldest lines of one stream, as an event's data."""
        first = self._lines[0]
        texts: list[str] = []
        size = cut = 0
        while self._lines and self._lines[0].stream == first.stream and len(texts) < BATCH_LINES:
            line = self._lines[0].line
            if texts and size + len(line.text) > BATCH_BYTES:
                break
            self._lines.popleft()
            size += len(line.text)
            cut += line.cut
            texts.append(line.text)
        self._bytes -= size
        data: dict[str, Any] = {"line": "\n".join(texts), "stream": first.stream, "n": first.number}
        if len(texts) > 1:
            data["count"] = len(texts)
        if cut:
            data["cut"] = cut  # bytes left out of lines that were too long
        if self._gap:
            data["dropped"] = self._gap  # lines lost before these
        return data
