"""`callboard streams`: a server that is not as declared is told, and made so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.broker import Broker
from router.connection import BrokerSettings
from router.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.ops.command import callboard


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    """An empty nats-server of this test's own."""
    embedded = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await embedded.start()
    yield embedded.url
    await embedded.stop()


async def test_differences_are_told_then_mended_then_gone(server: str) -> None:
    before = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)
    applied = await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)

    assert (before.returncode, applied.returncode, after.returncode) == (1, 0, 0)
    assert "EVENTS: missing" in before.stdout
    assert "EVENTS: made" in applied.stdout
    assert after.stdout == "all streams are as they should be\n"


async def test_a_setting_that_was_changed_is_a_difference(server: str) -> None:
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)

    done = await asyncio.to_thread(callboard, "streams", "diff", "--json", NATS_URL=server, EVENTS_MAX_AGE="3d")

    assert done.returncode == 1
    assert [(each["stream"], each["field"]) for each in json.loads(done.stdout)] == [("EVENTS", "max_age")]


async def test_limits_that_an_operator_has_set_are_differences_and_are_put_back(server: str) -> None:
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    limits = {"max_msgs": 3, "max_msg_size": 100, "max_msgs_per_subject": 2}
    async with Broker(BrokerSettings(server), "operator") as operator:
        config = (await operator.connection.api("STREAM.INFO.EVENTS"))["config"]
        await operator.connection.api("STREAM.UPDATE.EVENTS", {**config, **limits})

    before = await asyncio.to_thread(callboard, "streams", "diff", "--json", NATS_URL=server)
    applied = await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)

    assert {each["field"]: each["have"] for each in json.loads(before.stdout)} == limits
    assert "EVENTS.max_msgs: 3 became -1" in applied.stdout
    assert after.returncode == 0, after.stdout
