"""Tests of router/sdk/outbox.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from router.broker import Broker
from router.event import Event
from router.nats.settings import BrokerSettings
from router.sdk import Run, RunSettings
from router.sdk.outbox import MAX_BYTES, RunOutbox
from tests.router.scripted_stream import ELECTING, FULL, IN_PROCESS, NO_STORAGE, TOO_LARGE, connected, scripted_stream
from tests.router.sdk.runs import events_of, own_server
from tests.waiting import PATIENCE, eventually


async def test_events_added_while_nats_is_away_are_stored_once_and_in_order(tmp_path: Path, entity: str) -> None:
    async with (
        own_server(tmp_path) as server,
        Broker(BrokerSettings(url=server.url), "test") as broker,
        Run(entity, broker) as run,
    ):
        await eventually(lambda: run.waiting == 0)
        await server.stop()
        await eventually(lambda: not broker.connection.connected)
        for n in range(50):
            await run.emit("noted", {"n": n})
        await server.start()
        await eventually(lambda: run.waiting == 0)

        events = await events_of(broker, entity)
        assert [event.data["n"] for event in events[1:]] == list(range(50))


async def test_a_full_outbox_makes_the_producer_wait_and_loses_nothing(tmp_path: Path, entity: str) -> None:
    async with own_server(tmp_path) as server, Broker(BrokerSettings(url=server.url), "test") as broker:
        async with Run(entity, broker, settings=RunSettings(capacity=5)) as run:
            await eventually(lambda: run.waiting == 0)
            await server.stop()
            await eventually(lambda: not broker.connection.connected)

            async def talk() -> None:
                for n in range(20):
                    await run.emit("noted", {"n": n})
                    await run.chunk(f"{n},")

            talking = asyncio.ensure_future(talk())
            await eventually(lambda: run.waiting >= 5)
            assert not talking.done() and run.waiting <= 7
            await server.start()
            await asyncio.wait_for(talking, PATIENCE)

        events = await events_of(broker, entity)
        assert [event.data["n"] for event in events if event.type == "noted"] == list(range(20))
        assert "".join(e.data["content"] for e in events if e.type == "streaming_chunk") == "".join(
            f"{n}," for n in range(20)
        )


async def test_an_event_that_finds_its_stream_full_or_electing_is_published_later(own_nats: str) -> None:
    async with connected(own_nats) as broker, scripted_stream(own_nats) as stream:
        stream.answers = [FULL, NO_STORAGE, IN_PROCESS, ELECTING]
        outbox = RunOutbox(8)
        outbox.add(Event.new("job.one.output", {"n": 1}), b"{}")

        await asyncio.wait_for(outbox.publish_one(broker), 30)

        assert (outbox.sent, outbox.refused) == (1, 0)
        await eventually(lambda: len(stream.ids) == 5 and len(set(stream.ids)) == 1)


async def test_an_event_that_jetstream_refuses_does_not_hold_up_the_next(own_nats: str) -> None:
    async with connected(own_nats) as broker, scripted_stream(own_nats) as stream:
        stream.answers = [TOO_LARGE]
        outbox = RunOutbox(8)
        for n in range(2):
            outbox.add(Event.new("job.one.output", {"n": n}), b"{}")

        for _ in range(2):
            await asyncio.wait_for(outbox.publish_one(broker), 30)

        assert (outbox.sent, outbox.refused, len(outbox)) == (1, 1, 0)


def test_an_outbox_is_full_by_events_or_by_bytes() -> None:
    by_events, by_bytes = RunOutbox(2), RunOutbox(100)

    for outbox, payload in ((by_events, b""), (by_bytes, bytes(MAX_BYTES // 2))):
        for n in range(2):
            assert not outbox.full
            outbox.add(Event.new("job.one.output", {"n": n}), payload)

    assert by_events.full and by_bytes.full
