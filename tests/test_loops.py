"""A test that leaves something open fails itself, with the name of what it left, and disturbs no other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.loops import StrictLoop

_kept: list[Any] = []


def ran(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=StrictLoop) as runner:
        runner.run(coroutine)


async def _close(open_stream: bool, open_server: bool) -> None:
    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.readexactly(1)
    _kept.extend((server, reader, writer))
    if not open_stream:
        writer.close()
        await writer.wait_closed()
    if not open_server:
        server.close()
        await server.wait_closed()


def test_a_stream_that_is_left_open_is_told_with_what_was_unread() -> None:
    with pytest.raises(ResourceWarning, match=r"a stream to \('127.0.0.1', \d+\) with b'ello' unread"):
        ran(_close(open_stream=True, open_server=False))
    _kept.clear()
    gc.collect()


def test_a_server_that_is_left_open_is_told() -> None:
    with pytest.raises(ResourceWarning, match="unclosed resource <TCPServer"):
        ran(_close(open_stream=False, open_server=True))
    _kept.clear()
    gc.collect()


def test_nothing_is_told_where_all_is_closed() -> None:
    ran(_close(open_stream=False, open_server=False))
    _kept.clear()
