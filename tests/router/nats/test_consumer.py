"""Pull consumers and buckets against a real nats-server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import router.nats.consumer as consumer_module
from router.broker import Broker
from router.errors import Conflict
from router.event import Event
from router.nats.bucket import Bucket, Entry
from router.nats.consumer import Consumer, Message
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from tests.waiting import eventually, in_time, unhurried


def _consumer(broker: Broker, entity: str, heard: list[Message], credit: int = 8) -> Consumer:
    return Consumer(
        broker.connection,
        "EVENTS",
        {"durable_name": f"c-{entity}", "filter_subjects": [f"ev.job.{entity}.>"], "ack_wait": 60_000_000_000},
        heard.append,
        credit=credit,
    )


async def _publish(broker: Broker, entity: str, count: int) -> None:
    await asyncio.gather(*(broker.publish(Event.new(f"job.{entity}.x", {"n": n})) for n in range(count)))


async def test_no_more_than_the_credit_is_outstanding(broker: Broker, entity: str) -> None:
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard, credit=8)
    await _publish(broker, entity, 50)
    task = asyncio.ensure_future(consumer.run())
    await eventually(lambda: len(heard) == 8)
    await broker.connection.flush()

    assert len(heard) == 8
    settled = 0
    while settled < 50:
        await eventually(lambda: len(heard) > settled)
        await heard[settled].ack()
        consumer.done()
        settled += 1
        assert len(heard) - settled <= 8
    assert [m.sequence for m in heard] == sorted(m.sequence for m in heard)
    task.cancel()


async def test_a_message_given_back_comes_again_and_one_terminated_does_not(broker: Broker, entity: str) -> None:
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard)
    task = asyncio.ensure_future(consumer.run())
    await _publish(broker, entity, 1)
    await eventually(lambda: len(heard) == 1)
    await heard[0].nak(0.05)
    consumer.done()
    await eventually(lambda: len(heard) == 2)

    assert heard[1].attempt == 2
    await heard[1].term("enough")
    consumer.done()
    info = await broker.connection.api(f"CONSUMER.INFO.EVENTS.c-{entity}")
    assert info["num_ack_pending"] == 0
    task.cancel()


async def test_a_few_messages_that_take_long_do_not_keep_the_others_waiting(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more than half of the credit in hand nothing was pulled until the consumer was thought lost."""
    monkeypatch.setattr(consumer_module, "SILENCE_SECONDS", 3600.0)
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard, credit=4)
    task = asyncio.ensure_future(consumer.run())
    await _publish(broker, entity, 6)
    await eventually(lambda: len(heard) == 4)

    await heard[0].ack()
    consumer.done()

    await eventually(lambda: len(heard) == 5)
    assert consumer.outstanding == 4
    task.cancel()


async def test_a_deleted_consumer_is_made_again(broker: Broker, entity: str) -> None:
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard)
    task = asyncio.ensure_future(consumer.run())
    await _publish(broker, entity, 1)
    await eventually(lambda: len(heard) == 1)
    await heard[0].ack()
    consumer.done()
    await broker.connection.api(f"CONSUMER.DELETE.EVENTS.c-{entity}")
    await broker.publish(Event.new(f"job.{entity}.x", {"n": "later"}))

    await eventually(lambda: any(b"later" in m.payload for m in heard))
    task.cancel()


async def test_pulling_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        async with Broker(unhurried(server.url), "t") as broker:
            heard: list[Message] = []
            consumer = _consumer(broker, "a", heard, credit=100)
            task = asyncio.ensure_future(consumer.run())
            await _publish(broker, "a", 5)
            await eventually(lambda: len(heard) == 5)
            for message in heard:
                await message.ack()
                consumer.done()
            assert server.process is not None
            server.process.kill()
            await server.process.wait()
            await server.start()
            await broker.publish(Event.new("job.a.x", {"n": "later"}))

            await eventually(lambda: any(b"later" in m.payload for m in heard))
            task.cancel()
    finally:
        await server.stop()


async def test_a_key_is_written_only_by_who_knows_its_newest_revision(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, "RULES")
    revision = await bucket.create(entity, b"1")
    await bucket.update(entity, b"2", revision)

    with pytest.raises(Conflict):
        await bucket.update(entity, b"3", revision)
    with pytest.raises(Conflict):
        await bucket.create(entity, b"3")
    found = await bucket.get(entity)
    assert found is not None and found.value == b"2"


async def test_a_deleted_key_is_gone_and_can_be_made_again(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, "RULES")
    await bucket.create(entity, b"1")
    await bucket.delete(entity)

    assert await bucket.get(entity) is None
    assert entity not in await bucket.keys()
    await bucket.create(entity, b"2")
    assert entity in await bucket.keys()


async def test_a_key_with_a_ttl_runs_out_and_its_watchers_are_told(broker: Broker, entity: str) -> None:
    bucket = Bucket(broker.connection, "LEASES")
    told: list[Entry] = []
    task = asyncio.ensure_future(bucket.watch(lambda entry, _ready: told.append(entry), f"{entity}.*"))
    await bucket.put(f"{entity}.a", b"here", ttl=1)

    await eventually(lambda: [e.value for e in told] == [b"here", None])
    assert await bucket.get(f"{entity}.a") is None
    task.cancel()


async def test_a_watch_of_an_empty_bucket_is_ready_at_once(broker: Broker, entity: str) -> None:
    ready = asyncio.Event()
    task = asyncio.ensure_future(Bucket(broker.connection, "ALERTS").watch(lambda *_: None, f"{entity}.*", ready.set))

    await in_time(ready.wait())
    task.cancel()


@pytest.mark.slow
async def test_a_quiet_consumer_is_not_taken_for_a_lost_one(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Heartbeats came, and the consumer was recreated all the same every sixteen seconds."""
    monkeypatch.setattr(consumer_module, "PULL_SECONDS", 8.0)
    monkeypatch.setattr(consumer_module, "SILENCE_SECONDS", 6.4)
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard)
    beats: list[bytes] = []
    arrived = consumer._arrived
    monkeypatch.setattr(consumer, "_arrived", lambda s, r, p, raw: (beats.append(raw), arrived(s, r, p, raw)))
    task = asyncio.ensure_future(consumer.run())

    await eventually(lambda: sum(b"Idle Heartbeat" in beat for beat in beats) >= 4)

    assert "no heartbeat from the consumer" not in caplog.text
    await broker.publish(Event.new(f"job.{entity}.x"))
    await eventually(lambda: len(heard) == 1)
    task.cancel()


async def test_a_pull_that_brings_nothing_at_all_is_made_again(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consumer_module, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(consumer_module, "CHECK_SECONDS", 0.05)
    heard: list[Message] = []
    consumer = _consumer(broker, entity, heard)
    arrived = consumer._arrived
    is_deaf = True
    monkeypatch.setattr(consumer, "_arrived", lambda *message: None if is_deaf else arrived(*message))
    task = asyncio.ensure_future(consumer.run())
    await eventually(lambda: "no heartbeat from the consumer" in caplog.text)

    is_deaf = False
    monkeypatch.setattr(consumer_module, "SILENCE_SECONDS", 3600.0)
    await broker.publish(Event.new(f"job.{entity}.x"))
    await eventually(lambda: len(heard) == 1)
    task.cancel()
