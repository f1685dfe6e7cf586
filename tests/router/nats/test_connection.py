"""Tests of router/nats/connection.py: what it does round nats-py's own ways. Each tells when a workaround can go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from router.broker import Broker
from router.errors import Timeout, Unreachable
from router.nats import client
from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.servers import Server
from tests.waiting import PATIENCE, eventually, in_time


async def test_a_flush_ends_after_all_that_was_sent_before_has_been_heard(broker: Broker, entity: str) -> None:
    """nats-py writes its PING past what still waits to be sent."""
    heard: list[bytes] = []
    listening = await broker.connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))

    for round_ in range(1, 21):
        for _ in range(10):
            await broker.connection.send(f"test.{entity}", b"x" * 100)
        await broker.connection.flush()
        assert len(heard) == 10 * round_
    await listening.stop()


async def test_a_message_that_comes_alone_is_written_at_once_and_all_keep_their_order(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    wire = broker.connection._wire
    listening = await broker.connection.listen(f"test.{entity}", lambda _s, _r, payload, _h: heard.append(payload))
    sent: list[bytes] = []
    chance = random.Random(19)

    async def send(count: int) -> None:
        messages = [b"%d" % (len(sent) + place) for place in range(count)]
        sent.extend(messages)
        if count == 1:
            await broker.connection.send(f"test.{entity}", messages[0])
        else:
            await broker.connection.send_all([(f"test.{entity}", payload, None, "") for payload in messages])

    monkeypatch.setattr(client, "MIN_PAUSE", 0.0)
    await send(1)
    assert not wire._pending, "nothing waits for nats-py's flusher"
    monkeypatch.setattr(client, "MIN_PAUSE", 3600.0)
    await send(1)
    assert wire._pending, "what follows fast shares a write"
    for _ in range(100):
        monkeypatch.setattr(client, "MIN_PAUSE", chance.choice([0.0, 3600.0]))
        await send(chance.choice([1, 1, 1, 3]))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    await broker.connection.flush()

    assert heard == sent
    await listening.stop()


async def _send(connection: Connection, subject: str) -> None:
    await connection.send(subject, b"first")


async def _subscribe(connection: Connection, subject: str) -> None:
    await connection.listen(f"{subject}.other", lambda *_message: None)


async def _unsubscribe(connection: Connection, subject: str) -> None:
    (listening,) = (each for each in connection._wire._subs.values() if each.subject == f"{subject}.idle")
    await listening.unsubscribe()


async def _flush(connection: Connection, subject: str) -> None:
    with contextlib.suppress(TimeoutError):
        await connection.flush(0.05)


@pytest.mark.parametrize("act", [_send, _subscribe, _unsubscribe, _flush])
async def test_what_is_sent_over_a_socket_that_was_closed_a_moment_ago_waits_for_the_next_write(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[Connection, str], Awaitable[None]]
) -> None:
    connection, heard = broker.connection, list[bytes]()
    await connection.listen(f"said.{entity}", lambda _subject, _reply, payload, _headers: heard.append(payload))
    await connection.listen(f"said.{entity}.idle", lambda *_message: None)
    wire: Any = connection._wire
    write, refused = wire._transport.writelines, list[bool]()

    def closed(_commands: list[bytes]) -> NoReturn:
        monkeypatch.setattr(wire._transport, "writelines", write)
        refused.append(True)
        raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop says it

    # What nats-py does once its flusher met such a socket, and until it reads its end.
    wire._flusher_task.cancel()
    await asyncio.wait({wire._flusher_task})
    monkeypatch.setattr(wire, "_write_through", lambda _command: False)
    monkeypatch.setattr(wire._transport, "writelines", closed)
    await act(connection, f"said.{entity}")
    assert refused
    await connection.send(f"said.{entity}", b"second")

    await eventually(lambda: heard[-1:] == [b"second"] and not wire._pending)
    assert heard == ([b"first", b"second"] if act is _send else [b"second"])


async def test_a_subscription_that_is_not_confirmed_is_logged_and_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.nats.connection.CONFIRM_SECONDS", 0.2)
    port = free_port()
    (tmp_path / "nats.conf").write_text(f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{tmp_path}" }}\n')
    server = Server(tmp_path / "nats.conf")
    server.start()
    connection = Connection(BrokerSettings(f"nats://127.0.0.1:{port}"), "listen")
    await connection.open()
    assert server._process is not None
    server._process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, server._process.pid, os.WSTOPPED | os.WNOWAIT)
    heard: list[bytes] = []
    try:
        await connection.listen("said.late", lambda _s, _r, payload, _h: heard.append(payload))
        (logged,) = [each for each in caplog.records if "not confirmed a subscription" in each.getMessage()]
        assert (logged.levelname, logged.__dict__["subject"]) == ("WARNING", "said.late")

        server._process.send_signal(signal.SIGCONT)
        await connection.send("said.late", b"first")
        await eventually(lambda: heard == [b"first"])
    finally:
        server._process.send_signal(signal.SIGCONT)
        await connection.close()
        server.stop()


async def test_a_flush_ends_at_once_where_the_connection_is_lost_or_down(tmp_path: Path) -> None:
    """Pictures wait for it: for two seconds of its timeout none were sent after each death of NATS."""
    port = free_port()
    (tmp_path / "nats.conf").write_text(f'host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: "{tmp_path}" }}\n')
    server = Server(tmp_path / "nats.conf")
    server.start()
    connection = Connection(BrokerSettings(f"nats://127.0.0.1:{port}"), "flush")
    await connection.open()
    assert server._process is not None
    server._process.send_signal(signal.SIGSTOP)  # no ping is answered any more
    await asyncio.to_thread(os.waitid, os.P_PID, server._process.pid, os.WSTOPPED | os.WNOWAIT)
    flushing = asyncio.ensure_future(connection.flush(3600.0))
    await eventually(lambda: connection._wire.round_trips)

    server.stop()

    with pytest.raises(Timeout):
        await in_time(flushing)
    with pytest.raises(Timeout, match=r"^the connection to NATS is down$"):
        await in_time(connection.flush(3600.0))
    assert not connection._wire.round_trips
    await connection.close()


async def test_what_is_sent_once_listen_has_returned_is_heard(broker: Broker, entity: str) -> None:
    heard: list[str] = []
    for number in range(20):
        listening = await broker.connection.listen(f"test.{entity}.{number}", lambda s, _r, _p, _h: heard.append(s))
        await broker.connection.send(f"test.{entity}.{number}", b"")
        await broker.connection.flush()
        await listening.stop()

    assert len(heard) == 20


async def test_what_is_asked_when_the_connection_breaks_fails_at_once(broker: Broker, entity: str) -> None:
    listening = await broker.connection.listen(f"test.{entity}", lambda *_: None)
    asking = asyncio.ensure_future(broker.connection.ask(f"test.{entity}", b"", timeout=3600))
    await broker.connection.flush()

    await broker.connection._wire.force_reconnect()

    with pytest.raises(Timeout, match="lost"):
        await in_time(asking)
    await listening.stop()


async def test_a_connection_closed_while_it_reconnects_never_comes_back(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asyncio.wait_for`, with which nats-py connects, loses on Python 3.11 a cancellation that comes with the refusal."""
    broker = Broker(BrokerSettings(own_nats), "closing")
    await broker.open()
    wire = broker.connection._wire
    closing: list[asyncio.Task[None]] = []

    async def refused(*_: Any, **__: Any) -> NoReturn:
        task = wire._reconnection_task
        if not closing and task is not None:
            closing.append(asyncio.create_task(broker.close()))
            while not task.cancelling():  # noqa: ASYNC110 - this must go on before the cancelled task does
                await asyncio.sleep(0)
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr("asyncio.open_connection", refused)
        await wire.force_reconnect()
        task = wire._reconnection_task
        assert task is not None
        await eventually(lambda: closing and closing[0].done())
        await asyncio.wait({task}, timeout=20)
        assert task.done()
    assert not broker.connection.connected


async def test_who_publishes_more_than_the_socket_takes_can_be_cancelled(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py catches the cancellation of who waits until the socket takes more; a loop of publishes would never end."""
    wire: Any = broker.connection._wire
    taken, full = asyncio.Event(), asyncio.Event()
    drain = wire._transport.drain

    async def takes_nothing() -> None:
        full.set()
        await taken.wait()
        await drain()

    async def publish() -> None:
        while True:
            await broker.connection.send(f"test.{entity}", b"x" * 100)

    monkeypatch.setattr(wire, "_write_through", lambda _command: False)
    monkeypatch.setattr(wire, "_max_pending_size", 1000)
    monkeypatch.setattr(wire._transport, "drain", takes_nothing)
    publishing = asyncio.ensure_future(publish())
    await in_time(full.wait())
    publishing.cancel()

    done, _ = await asyncio.wait({publishing}, timeout=PATIENCE)
    publishing.cancel()
    taken.set()
    assert done and publishing.cancelled()


async def test_a_listener_for_reconnects_can_be_taken_off(broker: Broker) -> None:
    told: list[str] = []
    broker.connection.on_reconnect(lambda: told.append("stays"))
    unlisten = broker.connection.on_reconnect(lambda: told.append("leaves"))
    unlisten()
    unlisten()

    await broker.connection._wire.force_reconnect()

    await eventually(lambda: told == ["stays"])


@pytest.mark.parametrize("ending", ["its time is over", "it is cancelled"])
async def test_an_open_that_ends_without_a_connection_leaves_no_socket_open(ending: str) -> None:
    """The server takes the connection, says INFO, and never answers the PING."""
    closed, greeted = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.12.0","headers":true,"max_payload":1048576}\r\n')
        greeted.set()
        while await reader.read(4096):
            pass
        writer.close()
        closed.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    address = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    connection = Connection(BrokerSettings(address, connect_timeout=1.0 if "time" in ending else PATIENCE), "test")
    opening = asyncio.ensure_future(connection.open())
    await in_time(greeted.wait())
    if "cancelled" in ending:
        opening.cancel()
    with pytest.raises((Unreachable, asyncio.CancelledError)):
        await opening

    await in_time(closed.wait())
    server.close()
    await server.wait_closed()
