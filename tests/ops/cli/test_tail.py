"""`callboard tail`: the past, the hand-over, the present; through a restart of NATS; for people and for scripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path

import pytest

from ops.cli.tail import Tail, line
from ops.terminal import Paint
from router.broker import Broker
from router.cursor import Start
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.record import Record
from tests.ops.command import callboard, running
from tests.waiting import PATIENCE, eventually, unhurried


async def _publish(broker: Broker, subject: str, *numbers: int) -> None:
    for n in numbers:
        await broker.publish(Event.new(subject, {"n": n}))


def _numbers(text: str) -> list[int]:
    return [json.loads(said)["data"]["n"] for said in text.splitlines()]


async def test_the_past_is_shown_and_then_it_ends(broker: Broker, nats_server: str, entity: str) -> None:
    await _publish(broker, f"job.{entity}.progress", *range(5))

    done = await asyncio.to_thread(callboard, "tail", f"job.{entity}.>", "--no-follow", NATS_URL=nats_server)
    last = await asyncio.to_thread(
        callboard, "tail", f"job.{entity}.>", "--last", "2", "--count", "2", NATS_URL=nats_server
    )
    since = await asyncio.to_thread(
        callboard, "tail", f"job.{entity}.>", "--since", "1h", "--no-follow", NATS_URL=nats_server
    )

    assert _numbers(done.stdout) == [0, 1, 2, 3, 4]
    assert _numbers(last.stdout) == [3, 4]
    assert _numbers(since.stdout) == [0, 1, 2, 3, 4]


async def test_types_are_chosen(broker: Broker, nats_server: str, entity: str) -> None:
    await _publish(broker, f"job.{entity}.progress", 1)
    await _publish(broker, f"job.{entity}.log", 2)

    done = await asyncio.to_thread(
        callboard, "tail", f"job.{entity}.>", "--type", "log", "--no-follow", NATS_URL=nats_server
    )

    assert _numbers(done.stdout) == [2]


async def test_a_filter_chooses_by_what_events_say(broker: Broker, nats_server: str, entity: str) -> None:
    await _publish(broker, f"job.{entity}.progress", *range(5))

    done = await asyncio.to_thread(
        callboard, "tail", f"job.{entity}.>", "--filter", "data.n > 2", "--no-follow", NATS_URL=nats_server
    )

    assert _numbers(done.stdout) == [3, 4]


async def test_it_follows_and_ctrl_c_ends_it_quietly(broker: Broker, nats_server: str, entity: str) -> None:
    await _publish(broker, f"job.{entity}.progress", 0)
    async with running("tail", f"job.{entity}.>", "job.*.nothing", "--last", "all", NATS_URL=nats_server) as command:
        await command.says('"n":0')
        await _publish(broker, f"job.{entity}.progress", 1, 2)
        await command.says('"n":2')

        command.signal(signal.SIGINT)

        assert await command.ends() == 130
        assert command.err == ""
        assert _numbers(command.out) == [0, 1, 2]


async def test_nothing_is_missing_or_twice_while_events_are_published_at_full_speed(
    broker: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    async def speak() -> None:
        await _publish(broker, f"job.{entity}.progress", *range(600))

    async with Broker(broker_settings, "reader") as other, asyncio.TaskGroup() as group:
        await _publish(broker, f"job.{entity}.progress", -1)
        group.create_task(speak())
        tail = Tail(other, (f"job.{entity}.>",))
        seen: list[int] = []
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(tail.follow(Start(earliest=True))) as events:
            async for record in events:
                assert isinstance(record, Record) and record.event
                seen.append(record.event.data["n"])
                if len(seen) == 601:
                    break

    assert seen == list(range(-1, 600))


async def test_a_restart_of_nats_costs_no_event(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await server.start()
    settings = unhurried(server.url)
    seen: list[int] = []
    try:
        async with Broker(settings, "writer") as writer, Broker(settings, "reader") as reader:
            await _publish(writer, "job.a.progress", 0, 1)
            tail = Tail(reader, ("job.>",))

            async def read() -> None:
                async for record in tail.follow(Start(earliest=True)):
                    assert isinstance(record, Record) and record.event
                    seen.append(record.event.data["n"])

            async with asyncio.TaskGroup() as group:
                reading = group.create_task(read())
                await eventually(lambda: seen == [0, 1])
                assert server.process
                server.process.kill()
                await server.process.wait()
                await server.start()
                await _publish(writer, "job.a.progress", 2, 3)

                await eventually(lambda: seen == [0, 1, 2, 3])
                reading.cancel()
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        ["a..b"],
        ["job.>", "--filter", "data.n >"],
        ["job.>", "--since", "whenever"],
        ["job.>", "--last", "-3"],
        ["job.>", "--last", "1", "--since", "1h"],
    ],
)
def test_what_cannot_be_followed_is_refused(arguments: list[str]) -> None:
    done = callboard("tail", *arguments, NATS_URL="nats://127.0.0.1:1")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_no_event_commands_the_terminal() -> None:
    event = Event.new("job.a.log", {"line": "\x1b[2Jgone\x07", "\x1b]0;title\x07": 1})

    shown = line(event, Paint(False))

    assert "\x1b" not in shown and "\x07" not in shown
