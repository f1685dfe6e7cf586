"""The proxy does to a connection what a bad network does, and to nobody's bytes anything else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.proxy import Cut, Proxy
from tests.waiting import eventually, in_time

WORDS = bytes(range(256)) * 400


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says what it hears; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while said := await reader.read(65536):
                writer.write(said)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(port: int, words: bytes) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Says words and reads until they are back, or until the end; gives what came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    heard = b""
    with contextlib.suppress(ConnectionError):
        while len(heard) < len(words) and (some := await reader.read(65536)):
            heard += some
    return heard, reader, writer


async def test_all_bytes_come_through_and_an_end_is_passed_on() -> None:
    async with echo() as port, Proxy(port) as proxy:
        heard, reader, writer = await say(proxy.port, WORDS)
        writer.write_eof()
        rest = await reader.read()
        writer.close()

        assert (heard, rest) == (WORDS, b"")
        await eventually(lambda: not proxy.links)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_is_cut_at_its_byte(reset: bool) -> None:
    async with echo() as port, Proxy(port, cut=lambda: Cut(12_345, reset)) as proxy:
        heard, reader, writer = await say(proxy.port, WORDS)
        writer.close()

        assert heard == WORDS[:12_345]
        assert proxy.cuts == 1
        assert isinstance(reader.exception(), ConnectionResetError) is reset


async def test_a_refusing_proxy_breaks_what_is_open_and_what_comes() -> None:
    async with echo() as port, Proxy(port) as proxy:
        _, reader, writer = await say(proxy.port, b"hello")
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        refused, _, second = await say(proxy.port, b"hello")
        second.close()
        proxy.accept()
        taken, _, third = await say(proxy.port, b"hello")
        third.close()

        assert (refused, taken) == (b"", b"hello")


async def test_a_black_hole_swallows_nothing_but_time() -> None:
    async with echo() as port, Proxy(port) as proxy:
        _, reader, writer = await say(proxy.port, b"hello")
        proxy.blackhole()
        writer.write(b"again")
        with pytest.raises(TimeoutError):
            await in_time(reader.read(10), 0.1)
        proxy.flow()

        assert await reader.readexactly(5) == b"again"
        writer.close()


async def test_latency_and_bandwidth_take_their_time() -> None:
    async with echo() as port, Proxy(port, latency=0.1) as proxy:
        begun = time.monotonic()
        _, _, writer = await say(proxy.port, b"hello")
        there_and_back = time.monotonic() - begun
        writer.close()
        proxy.latency, proxy.bandwidth = 0.0, 100_000
        begun = time.monotonic()
        heard, _, writer = await say(proxy.port, WORDS[:20_000])
        narrow = time.monotonic() - begun
        writer.close()

        assert there_and_back >= 0.19
        assert heard == WORDS[:20_000]
        assert narrow >= 0.19


async def test_connections_that_are_frozen_say_nothing_and_new_ones_flow() -> None:
    async with echo() as port, Proxy(port) as proxy:
        _, reader, writer = await say(proxy.port, b"before")
        proxy.freeze()
        writer.write(b"after")
        heard, _, other = await say(proxy.port, WORDS)

        with pytest.raises(TimeoutError):
            await in_time(reader.read(1), 0.2)
        proxy.flow()
        assert (await reader.readexactly(5), heard) == (b"after", WORDS)
        writer.close()
        other.close()
