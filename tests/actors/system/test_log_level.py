"""Tests of actors/system/log_level.py: a command that every actor has, whatever it is busy with."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from actors.system.actor import Actor, BadActor, check, command
from router.broker import Broker
from router.nats.headers import header
from tests.actors.system.running import running_actor
from tests.waiting import in_time


@pytest.fixture(autouse=True)
def same_level() -> Iterator[None]:
    logger = logging.getLogger("actors")
    before = logger.level
    yield
    logger.setLevel(before)


async def test_a_busy_actor_changes_its_level_at_once_and_the_log_says_who_asked(
    broker: Broker, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    entered = asyncio.Event()

    class Busy(Actor):
        name = f"busy-{entity}"

        @command
        async def wait(self) -> None:
            entered.set()
            await asyncio.Event().wait()

    subject = f"cmd.busy-{entity}.main"
    async with running_actor(Busy, broker, grace=0.1):
        waiting = asyncio.ensure_future(broker.connection.ask(f"{subject}.wait", b""))
        await in_time(entered.wait())
        reply = await broker.connection.ask(
            f"{subject}.log_level", b'{"logger": "actors", "level": "debug"}', {"Callboard-Principal": "alice"}
        )
    await asyncio.gather(waiting, return_exceptions=True)

    assert json.loads(reply.payload)["levels"]["actors"] == "debug"
    (said,) = [record for record in caplog.records if record.getMessage() == "log level changed"]
    assert (said.of, said.to, said.by) == ("actors", "debug", "alice")  # type: ignore[attr-defined]


async def test_a_level_that_is_none_changes_nothing(broker: Broker, entity: str) -> None:
    before = logging.getLogger("actors").level
    named = type("Plain", (Actor,), {"name": f"plain-{entity}"})
    async with running_actor(named, broker):
        reply = await broker.connection.ask(
            f"cmd.plain-{entity}.main.log_level", b'{"logger": "actors", "level": "no"}'
        )

    assert header(reply.headers, b"Nats-Service-Error-Code") == "400"
    assert logging.getLogger("actors").level == before


def test_an_actor_may_have_no_command_of_this_name() -> None:
    class Own(Actor):
        name = "own"

        @command
        async def log_level(self) -> None:
            """Not the runtime's."""

    with pytest.raises(BadActor, match="log_level is the runtime's own"):
        check(Own())
