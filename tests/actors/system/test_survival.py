"""Tests that an actor survives what happens to NATS: a lost connection, and a server that is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.system.actor import Actor, command
from actors.system.context import Context
from actors.system.supervisor import run_actor
from router.broker import Broker
from router.cluster.leases import Leases, view_key
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from tests.waiting import eventually, in_time

EVENTS = 200


class Doubler(Actor):
    """Doubles numbers, and shows a picture while somebody watches."""

    name = "doubler"
    subjects = ("number.*.said",)
    every = 0.05
    # Four seconds of the server's patience (timeout x capacity): what was on the way when a connection broke comes again
    # after that.
    timeout = 1.0
    capacity = 4

    async def start(self, ctx: Context) -> None:
        self.crashes = 0
        viewers = ctx.viewers("number", "main")

        async def show(beat: Any) -> None:
            seq = 0
            while True:
                await viewers.wait_for_some()
                seq += 1
                ctx.frame("number", "main", {"seq": seq}, b"picture")
                await ctx.sleep(0.02)

        ctx.source("show", show, None)

    async def receive(self, event: Event, ctx: Context) -> None:
        ctx.emit(f"number.{event.data['n']}.doubled", {"n": event.data["n"] * 2})

    async def tick(self, ctx: Context) -> None:
        ctx.emit("number.main.ticked", {})

    @command
    async def hello(self) -> str:
        return "hello"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await server.start()
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def doubling(server: EmbeddedServer) -> AsyncIterator[tuple[Broker, Broker]]:
    """A running Doubler on a broker of its own; gives that broker, and one for the test."""
    settings = BrokerSettings(url=server.url)
    async with Broker(settings, "actor") as own, Broker(settings, "test") as ours:
        stop = asyncio.Event()
        running = asyncio.ensure_future(run_actor(Doubler, own, stop=stop))
        await eventually(lambda: count(ours, "number.main.ticked"))
        try:
            yield own, ours
        finally:
            stop.set()
            await in_time(running)


async def count(broker: Broker, pattern: str) -> int:
    return len(await numbers(broker, pattern))


async def numbers(broker: Broker, pattern: str) -> list[Any]:
    found: list[Any] = []
    after, more = 0, True
    while more:
        page = await broker.read(pattern, after)
        found += [record.event.data.get("n") for record in page.records if record.event]
        after = page.records[-1].sequence if page.records else after
        more = page.more
    return found


async def all_doubled(broker: Broker) -> bool:
    return sorted(await numbers(broker, "number.*.doubled")) == [n * 2 for n in range(EVENTS)]


async def publish_all(broker: Broker) -> None:
    for n in range(EVENTS):
        await broker.publish(Event.new(f"number.{n}.said", {"n": n}), timeout=30)


async def test_every_event_is_answered_although_connections_break(server: EmbeddedServer) -> None:
    async with doubling(server) as (own, ours):
        publishing = asyncio.ensure_future(publish_all(ours))
        for already in (20, 80, 140):
            await eventually(lambda already=already: reached(ours, already))  # type: ignore[misc]
            await own.connection._wire.force_reconnect()
        await publishing

        await eventually(lambda: all_doubled(ours))
        assert own.connection.reconnects >= 1
        await eventually(lambda: nothing_pending(ours))


async def reached(broker: Broker, number: int) -> bool:
    return await count(broker, "number.*.doubled") >= number


async def nothing_pending(broker: Broker) -> bool:
    info = await broker.connection.api("CONSUMER.INFO.EVENTS.actor-doubler")
    return bool(info["num_ack_pending"] == 0 and info["num_pending"] == 0)


async def test_every_event_is_answered_although_the_server_is_killed(server: EmbeddedServer) -> None:
    async with doubling(server) as (_own, ours):
        holding = asyncio.ensure_future(Leases(ours.connection).hold(view_key("number", "main", "s1"), 5))
        await eventually(lambda: ours.last_frame("frame.number.main"))
        publishing = asyncio.ensure_future(publish_all(ours))
        for already in (20, 100):
            await eventually(lambda already=already: reached(ours, already))  # type: ignore[misc]
            assert server.process
            server.process.kill()
            await server.process.wait()
            await server.start()
            await eventually(lambda: ours.connection.connected)
            # The stream of pictures was in memory; it is made again, and pictures flow again.
            await eventually(lambda: ours.last_frame("frame.number.main"))
        await publishing

        await eventually(lambda: all_doubled(ours))
        reply = await ours.connection.ask("cmd.doubler.main.hello", b"{}")
        assert reply.payload == b'"hello"'
        ticks = await count(ours, "number.main.ticked")
        await eventually(lambda: ticked(ours, ticks))
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def ticked(broker: Broker, before: int) -> bool:
    return await count(broker, "number.main.ticked") > before
