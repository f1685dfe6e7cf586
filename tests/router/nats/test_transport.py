"""Tests of router/nats/transport.py: a server that resets a connection while it is being made is connected to again."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.servers import running_server
from tests.waiting import eventually

INFO = {"server_id": "x", "version": "2.12.0", "headers": True, "max_payload": 1048576, "jetstream": True}


@asynccontextmanager
async def resetting(port: int, after: str) -> AsyncIterator[list[str]]:
    """A server on this port that resets each connection right after one line of its own; yields the lines it has sent so.

    It uses no transport: that would reset the connection a turn of the loop later.
    """
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", port))
    listener.setblocking(False)
    said: list[str] = []
    lines = {"INFO": f"INFO {json.dumps(INFO)}\r\n", "PONG": "PONG\r\n"}
    open_sockets: set[socket.socket] = set()

    def say(client: socket.socket, line: str) -> None:
        client.sendall(lines[line].encode())
        if line == after:
            said.append(line)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if line == "INFO":
                # What comes with the first line is met by the connecting, and not by what is written afterwards.
                loop.call_later(0.1, close, client)
            else:
                close(client)

    def close(client: socket.socket) -> None:
        if client in open_sockets:
            open_sockets.discard(client)
            loop.remove_reader(client)
            client.close()

    def read(client: socket.socket) -> None:
        heard = client.recv(65536)
        if b"PING" in heard:
            say(client, "PONG")
        elif not heard:
            close(client)

    def accept() -> None:
        client, _ = listener.accept()
        open_sockets.add(client)
        loop.add_reader(client, read, client)
        say(client, "INFO")

    loop.add_reader(listener, accept)
    try:
        yield said
    finally:
        loop.remove_reader(listener)
        listener.close()
        for each in list(open_sockets):
            close(each)


def wait_for_the_reset(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine does: the reset is there before the first line of a server is answered."""
    wire: Any = connection._wire
    process = wire._process_info

    async def processed(info: dict[str, Any], initial_connection: bool = False) -> None:
        if info.get("server_id") == INFO["server_id"]:
            await eventually(lambda: wire._transport._io_reader.exception())
        await process(info, initial_connection)

    monkeypatch.setattr(wire, "_process_info", processed)


@pytest.mark.parametrize("after", ["INFO", "PONG"])
async def test_a_connection_that_is_reset_while_it_is_made_again_is_made_once_more(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    heard: list[bytes] = []
    config = f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{tmp_path}" }}\n'
    with running_server(tmp_path, config) as server:
        connection = Connection(BrokerSettings(f"nats://127.0.0.1:{port}", request_timeout=60.0), "reset")
        await connection.open()
        if after == "INFO":
            wait_for_the_reset(connection, monkeypatch)
        await connection.listen("said", lambda _subject, _reply, payload, _headers: heard.append(payload))
        server.shut_down()
        async with resetting(port, after) as resets:
            await eventually(lambda: len(resets) > 2)
        server.start()

        await eventually(lambda: connection.connected and connection.up.is_set())
        await connection.send("said", b"again")
        await eventually(lambda: heard == [b"again"])
        await connection.close()


@pytest.mark.parametrize("after", ["INFO", "PONG"])
async def test_a_connection_that_is_reset_while_it_is_made_is_made_once_more(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    connection = Connection(BrokerSettings(f"nats://127.0.0.1:{port}", connect_timeout=60.0), "reset")
    if after == "INFO":
        wait_for_the_reset(connection, monkeypatch)
    async with resetting(port, after) as resets:
        opening = asyncio.ensure_future(connection.open())
        # The first one only knocks.
        await eventually(lambda: len(resets) > 2 or opening.done())
    with running_server(tmp_path, f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{tmp_path}" }}\n'):
        await opening
        await eventually(lambda: connection.connected)
        await connection.flush(60.0)
        await connection.close()
