"""The size law: what is added to the largest event on its way fits into the room that is kept free for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.webhooks.queue.job import Job
from router.broker import Broker
from router.codec import encode
from router.deadletter import Origin, webhook_subject
from router.deadletters import DeadLetters
from router.errors import TooLarge
from router.event import Event
from router.limits import HEADROOM, headers_size, largest_event, message_size
from router.nats.connection import Outgoing
from router.nats.publisher import Publish
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack
from tests.servers import serving_small
from tests.waiting import eventually, unhurried

MIB = 1024 * 1024
SESSION = "sess_" + "0" * 24


def longest_job(payload: bytes) -> Job:
    """A job of which every header is as long as it can be."""
    return Job(
        session=SESSION,
        partition=15,
        event_id="x" * 200,
        subject="a." * 2 + "b" * 251,
        sequence=2**63,
        payload=payload,
        queued=2**63,
        attempt=1000,
        parks=1000,
        run=1000,
        last_status=599,
        chain="f" * 16,
        trigger="redrive",
        order=2**63,
    )


def test_no_job_retry_or_batch_adds_more_than_the_room_that_is_kept_free() -> None:
    payload = bytes(1000)
    job = longest_job(payload)
    batch = Job.batch([job])
    for each in (job, batch):
        parked = each.parked("k" + "f" * 16, 2**63)
        for headers in (each.headers(), each.due(2**63), parked.headers):
            assert message_size(each.body, headers) - len(payload) <= HEADROOM


async def test_a_letter_with_the_longest_headers_fits_beside_the_largest_event(tmp_path: Path) -> None:
    with serving_small(tmp_path, MIB) as server:
        async with Broker(unhurried(server.url), "test") as broker:
            dead = DeadLetters(broker)
            payload = bytes(broker.largest_event)
            wide = "日" * 5000

            ack = await dead.add(
                webhook_subject(SESSION),
                payload,
                origin=Origin("EVENTS", 2**63, wide),
                reason="exhausted",
                detail=wide,
                attempts=10**9,
                destination=wide,
                source=wide,
                redrives=10**9,
                back=wide,
            )
            letter = await dead.get(ack.sequence)

    assert letter is not None and (letter.size, letter.payload) == (0, payload)
    assert letter.detail and wide.startswith(letter.detail)


async def test_what_does_not_fit_into_a_letter_is_kept_by_reference_and_found_by_it(tmp_path: Path) -> None:
    with serving_small(tmp_path, MIB) as server:
        async with Broker(unhurried(server.url), "test") as broker:
            dead = DeadLetters(broker)
            event = Event.new("job.large.output", {"text": "x" * (MIB - 300)})
            payload = encode(event)
            stored = await broker.store("ev.job.large.output", payload, {"Nats-Msg-Id": event.id})

            origin = Origin("EVENTS", stored.sequence, "ev.job.large.output")
            ack = await dead.add(webhook_subject(SESSION), payload, origin=origin, reason="too_large")
            letter = await dead.get(ack.sequence)

            assert letter is not None and letter.payload == b""
            assert (letter.size, letter.event_id, letter.origin) == (len(payload), event.id, origin)
            assert await dead.payload_of(letter) == payload

            await broker.connection.api("STREAM.PURGE.EVENTS")
            assert await dead.payload_of(letter) is None


async def test_headers_count_and_one_byte_too_many_is_refused_without_losing_the_connection(tmp_path: Path) -> None:
    with serving_small(tmp_path, MIB) as server:
        async with Broker(unhurried(server.url), "test") as broker:
            headers = {"Nats-Msg-Id": "size", "X-Wide": "äöü"}
            most = MIB - headers_size(headers)

            await broker.connection.send("size.most", bytes(most), headers)
            with pytest.raises(TooLarge) as refused:
                await broker.connection.send("size.most", bytes(most + 1), headers)
            many: list[Outgoing] = [("size.most", bytes(most + 1), headers, "")]
            with pytest.raises(TooLarge):
                await broker.connection.send_all(many)
            # A header that nats-py puts right is counted, too.
            with pytest.raises(TooLarge):
                await broker.connection.send("size.most", bytes(most), {**headers, "X-Odd": " blank before\n"})
            await broker.connection.flush()

            assert (refused.value.size, refused.value.limit) == (MIB + 1, MIB)
            assert broker.connection.connected and broker.connection.reconnects == 0
            assert server.violations == []


async def test_one_message_too_large_is_not_sent_and_keeps_no_other_from_being(tmp_path: Path) -> None:
    with serving_small(tmp_path, MIB) as server:
        async with Broker(BrokerSettings(server.url), "test") as broker:
            heard: list[bytes] = []
            listening = await broker.connection.listen("size.>", lambda _s, _r, payload, _h: heard.append(payload[:9]))
            # A header that nats-py puts right leaves in another way.
            odd = {"X-Odd": " blank before"}
            many: list[Outgoing] = [("size.one", b"1", None, ""), ("size.two", b"2", odd, "")]
            with pytest.raises(TooLarge):
                await broker.connection.send_all([*many, ("size.most", bytes(MIB + 1), None, "")])
            await broker.connection.flush()
            assert heard == []
            await broker.connection.send_all(many)
            await broker.connection.flush()
            assert heard == [b"1", b"2"]

            event = Event.new("job.large.output", {"text": "x"})
            messages = [
                Publish("ev.job.large.output", payload, {"Nats-Msg-Id": f"{place}"})
                for place, payload in enumerate((encode(event), bytes(MIB), encode(event)))
            ]
            first, large, last = await broker.publisher.send(messages)
            assert isinstance(large, TooLarge) and large.limit == MIB
            assert isinstance(first, Ack) and isinstance(last, Ack) and last.sequence == first.sequence + 1
            assert await broker.publisher.send([]) == []
            assert broker.connection.reconnects == 0 and server.violations == []
            await listening.stop()


async def test_the_largest_event_follows_the_server_at_a_reconnect(tmp_path: Path) -> None:
    with serving_small(tmp_path, MIB) as server:
        port = int(server.url.rpartition(":")[2])
        broker = Broker(unhurried(server.url), "test")
        await broker.open()
    try:
        assert broker.largest_event == MIB - HEADROOM
        with serving_small(tmp_path, 100_000, port):
            await eventually(lambda: broker.connection.reconnects > 0)

            assert broker.largest_event == 100_000 - HEADROOM
            with pytest.raises(TooLarge):
                await broker.publish(Event.new("job.large.output", {"text": "x" * 95_000}))
    finally:
        await broker.close()


def test_a_server_that_takes_nothing_takes_no_event() -> None:
    assert largest_event(1000) == 0
    assert largest_event(8 * MIB, MIB) == largest_event(MIB, 8 * MIB) == MIB - HEADROOM
