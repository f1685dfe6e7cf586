"""Runs a peer of the benchmark as the benchmark does: a script that takes a line and answers with one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from ops.bench.stand import process
from tests.waiting import PATIENCE


class Peer:
    """A peer that runs."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def line(self) -> str:
        assert self._child.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._child.stdout.readline()).decode()

    async def ask(self, order: str) -> str:
        assert self._child.stdin is not None
        self._child.stdin.write(order.encode() + b"\n")
        return await self.line()


@contextlib.asynccontextmanager
async def peer(script: object) -> AsyncIterator[Peer]:
    """Starts the script that a module is."""
    path = Path(str(getattr(script, "__file__", "")))
    async with process(sys.executable, "-P", str(path), piped=True) as child:
        yield Peer(child)


class Raw:
    """A connection that reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def until(self, text: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(text)

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(size)

    def close(self) -> None:
        self._writer.close()


async def get(port: int, path: str) -> Raw:
    """Asks for a path, and leaves the answer to be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return Raw(reader, writer)
