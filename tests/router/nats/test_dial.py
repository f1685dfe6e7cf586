"""Tests of router/nats/dial.py."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.errors import Unreachable, Unsuitable
from router.nats import dial
from router.nats.dial import await_listener, check_server, without_secrets
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from tests.waiting import in_time


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://a:4222", "nats://a:4222"),
        ("nats://user:p@ss@a:4222", "nats://***@a:4222"),
        ("tls://token@a,nats://b", "tls://***@a,nats://b"),
    ],
)
def test_the_credentials_of_an_address_are_hidden(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


async def test_where_no_server_listens_it_fails_early_and_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "KNOCK_SECONDS", 0.1)
    begun = time.monotonic()

    with pytest.raises(Unreachable, match=r"nats://\*\*\*@127.0.0.1:\d+ \(connection refused\)"):
        await await_listener(BrokerSettings(f"nats://user:secret@127.0.0.1:{free_port()}", connect_timeout=60.0))

    assert time.monotonic() - begun < 30


async def test_a_server_that_starts_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "KNOCK_SECONDS", 60.0)
    port = free_port()
    waiting = asyncio.ensure_future(await_listener(BrokerSettings(f"nats://127.0.0.1:{port}", connect_timeout=60.0)))
    await asyncio.sleep(0.06)
    assert not waiting.done()

    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port):
        await in_time(waiting, 60)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ({"version": "2.11.9", "jetstream": True}, "version 2.11.9; Callboard needs 2.12 or newer"),
        ({"version": "dev", "jetstream": True}, "version dev"),
        ({}, "version 0"),
        ({"version": "2.12.0-RC.1"}, "without JetStream"),
    ],
)
def test_a_server_that_is_too_old_or_without_jetstream_is_refused(info: dict[str, object], text: str) -> None:
    with pytest.raises(Unsuitable, match=text) as refused:
        check_server(info, "nats://user:secret@a:4222")

    assert "secret" not in str(refused.value)


def test_a_newer_server_is_taken() -> None:
    check_server({"version": "3.0.1", "jetstream": True}, "nats://a")
