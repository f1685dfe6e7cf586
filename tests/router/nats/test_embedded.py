"""The embedded nats-server: what answers on its port must be the server that was started."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from router.broker import Broker
from router.errors import EmbeddedError
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, binary, free_port
from tests.waiting import unhurried


async def test_another_nats_server_on_the_pinned_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    port = free_port()
    stranger = EmbeddedServer(EmbeddedSettings(tmp_path / "stranger", port))
    await stranger.start()
    ours = EmbeddedServer(EmbeddedSettings(tmp_path / "ours", port))
    try:
        with pytest.raises(
            EmbeddedError, match=rf"the NATS server {stranger.name} has port {port} .* CALLBOARD_EMBEDDED_PORT"
        ):
            await ours.start()

        assert ours.process and ours.process.returncode is not None
    finally:
        await ours.stop()
        await stranger.stop()


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-none\r\n", b"INFO {broken\r\n", b"INFO []\r\n"])
async def test_a_program_that_is_no_nats_server_is_not_taken_for_ours(tmp_path: Path, greeting: bytes) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        ours = EmbeddedServer(EmbeddedSettings(tmp_path, port))
        try:
            with pytest.raises(EmbeddedError, match=f"a program that is no NATS server has port {port}"):
                await ours.start()
        finally:
            await ours.stop()


async def test_a_port_that_nobody_asked_for_and_that_is_taken_meanwhile_is_given_up_for_another(tmp_path: Path) -> None:
    ours = EmbeddedServer(EmbeddedSettings(tmp_path))
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        # As if it had been free when it was chosen.
        taken = ours.port = stranger.getsockname()[1]
        try:
            await ours.start()

            assert ours.port != taken
            async with Broker(unhurried(ours.url), "test") as broker:
                assert (await broker.state()).messages == 0
        finally:
            await ours.stop()


async def test_a_server_that_is_started_again_has_its_port_and_its_name(tmp_path: Path) -> None:
    ours = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    try:
        await ours.start()
        first = (ours.port, ours.name)
        await ours.stop()

        await ours.start()

        assert (ours.port, ours.name) == first
    finally:
        await ours.stop()


def working(folder: Path, begin: str) -> str:
    """A program that does something before it is nats-server, as one does that reads a large store."""
    program = folder / "nats-server"
    program.write_text(f'#!/bin/sh\n{begin}\nexec {binary()} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    "work", ["echo reading >> data/nats-server.log; sleep 0.2", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]
)
async def test_a_server_that_reads_its_store_may_take_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, work: str
) -> None:
    monkeypatch.chdir(tmp_path)
    begin = f"end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do {work}; done"
    program = working(tmp_path, begin)
    monkeypatch.setattr("router.nats.embedded.binary", lambda: program)
    monkeypatch.setattr("router.nats.embedded.START_SECONDS", 2.0)
    server = EmbeddedServer(EmbeddedSettings(Path("data"), free_port()))
    with caplog.at_level("INFO"):
        try:
            await server.start()
        finally:
            await server.stop()

    assert "nats-server is reading its store; waiting until it takes connections" in caplog.messages


@pytest.mark.slow
async def test_a_server_that_does_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = working(tmp_path, "sleep 600")
    monkeypatch.setattr("router.nats.embedded.binary", lambda: program)
    monkeypatch.setattr("router.nats.embedded.START_SECONDS", 1.0)
    server = EmbeddedServer(EmbeddedSettings(tmp_path / "data", free_port()))
    try:
        with pytest.raises(EmbeddedError, match=r"does not start: it has done nothing for 1 s; see .*nats-server\.log"):
            await server.start()
    finally:
        await server.stop()
