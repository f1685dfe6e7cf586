"""Tests of router/nats/snapshot.py: a stream with its consumers is the same on another server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.errors import Refused
from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.nats.snapshot import CHUNK_BYTES, restore_stream, save_stream
from router.nats.stream import Stream, stream_names
from router.topology import EVENTS, TopologySettings, streams
from tests.servers import running_server
from tests.waiting import unhurried


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[Connection]:
    """A server with JetStream and no stream."""
    folder.mkdir()
    port = free_port()
    with running_server(folder, f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{folder / "data"}" }}\n'):
        connection = Connection(unhurried(f"nats://127.0.0.1:{port}"), "test")
        await connection.open()
        try:
            yield connection
        finally:
            await connection.close()


async def _events(connection: Connection, count: int, size: int = 10) -> Stream:
    """Makes EVENTS as it is declared, with so many messages."""
    stream = Stream(connection, EVENTS)
    await stream.create(next(each.desired for each in streams(TopologySettings()) if each.name == EVENTS))
    for _ in range(count):
        await connection.ask("ev.job.a.output", secrets.token_bytes(size))
    return stream


async def test_a_restored_stream_has_the_same_messages_at_the_same_places_and_its_consumers(tmp_path: Path) -> None:
    archive: list[bytes] = []
    async with _server(tmp_path / "one") as one:
        stream = await _events(one, 30, 50_000)
        config = {"durable_name": "reader", "ack_policy": "explicit"}
        await one.api(f"CONSUMER.CREATE.{EVENTS}.reader", {"stream_name": EVENTS, "config": config})
        about = await save_stream(one, EVENTS, archive.append)
        before, messages = await stream.info(), [await stream.get(sequence) for sequence in (1, 30)]

    # Several chunks: the server sends more when those before are acknowledged.
    assert len(archive) > 5 and max(map(len, archive)) <= CHUNK_BYTES
    async with _server(tmp_path / "other") as other:
        await restore_stream(other, EVENTS, about, archive)
        stream = Stream(other, EVENTS)
        after = await stream.info()

        assert after["created"] == before["created"], "the epoch of cursors"
        state = [after["state"][name] for name in ("messages", "first_seq", "last_seq")]
        assert state == [30, 1, 30]
        assert [await stream.get(sequence) for sequence in (1, 30)] == messages
        assert await stream.consumer_names() == ["reader"]
        await other.ask("ev.job.a.output", b"more")
        assert (await stream.state())["last_seq"] == 31
        # A change of its configuration makes no new stream of it either, and a backup of it none of that.
        await stream.update({**about["config"], "max_age": 3600 * 10**9, "metadata": {"other": "kept"}})
        info = await stream.info()
        assert info["created"] == before["created"] and info["config"]["metadata"]["other"] == "kept"
        again = (await save_stream(other, EVENTS, archive.append))["config"]["metadata"]
        assert again["callboard.created"] == before["created"]


async def test_a_stream_that_is_there_is_not_touched_and_one_that_is_not_cannot_be_saved(tmp_path: Path) -> None:
    async with _server(tmp_path / "one") as one:
        archive: list[bytes] = []
        stream = await _events(one, 1)
        about = await save_stream(one, EVENTS, archive.append)
        await one.ask("ev.job.a.output", b"more")

        with pytest.raises(Refused):
            await restore_stream(one, EVENTS, about, archive)
        with pytest.raises(Refused):
            await save_stream(one, "NOWHERE", archive.append)

        assert (await stream.state())["messages"] == 2


async def test_an_archive_that_is_damaged_makes_no_stream(tmp_path: Path) -> None:
    archive: list[bytes] = []
    async with _server(tmp_path / "one") as one:
        await _events(one, 50)
        about = await save_stream(one, EVENTS, archive.append)
        damaged = [bytes(byte ^ 0x55 for byte in chunk) for chunk in archive]

    async with _server(tmp_path / "other") as other:
        with pytest.raises(Refused):
            await restore_stream(other, EVENTS, about, damaged)

        assert await stream_names(other) == set()


async def test_what_cannot_be_written_ends_the_snapshot_and_not_the_connection(tmp_path: Path) -> None:
    def full(_chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with _server(tmp_path / "one") as one:
        stream = await _events(one, 1)
        with pytest.raises(OSError, match="No space left"):
            await save_stream(one, EVENTS, full)

        await one.ask("ev.job.a.output", b"more")
        assert (await stream.state())["messages"] == 2
