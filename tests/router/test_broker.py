"""The seam to NATS, against a real nats-server: publishing, reading, hearing, and what happens when the server dies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router import provisioning
from router.broker import Broker
from router.errors import Conflict, EmbeddedError, NoResponders, Refused, Timeout, Unreachable, Unsuitable
from router.event import Event
from router.layout import ORIGINAL
from router.live_copy import listen
from router.nats.connection import Connection
from router.nats.counters import REFUSED, figures
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.record import Record
from tests.waiting import PATIENCE, eventually


async def test_a_published_event_is_acknowledged_with_its_sequence_and_can_be_read(broker: Broker, entity: str) -> None:
    event = Event.new(f"job.{entity}.progress", {"n": 1})

    ack = await broker.publish(event)
    page = await broker.read(f"job.{entity}.>", 0)

    assert not ack.duplicate
    assert [(record.sequence, record.event) for record in page.records] == [(ack.sequence, event)]
    assert not page.more


async def test_a_repeat_of_an_id_is_stored_once(broker: Broker, entity: str) -> None:
    event = Event.new(f"job.{entity}.progress", {"n": 1})

    first, second = await broker.publish(event), await broker.publish(event)

    assert second.duplicate and second.sequence == first.sequence
    assert len((await broker.read(f"job.{entity}.>", 0)).records) == 1


async def test_pages_follow_one_another_without_a_gap(broker: Broker, entity: str) -> None:
    acks = await asyncio.gather(*(broker.publish(Event.new(f"job.{entity}.progress", {"n": n})) for n in range(25)))

    found: list[int] = []
    after, more = 0, True
    while more:
        page = await broker.read(f"job.{entity}.>", after, 10)
        found += [record.sequence for record in page.records]
        after, more = page.records[-1].sequence, page.more

    assert found == [ack.sequence for ack in acks]


async def test_events_published_together_are_stored_in_the_order_of_the_calls(broker: Broker, entity: str) -> None:
    await asyncio.gather(*(broker.publish(Event.new(f"job.{entity}.progress", {"n": n})) for n in range(200)))

    records = (await broker.read(f"job.{entity}.>", 0, 300)).records

    assert [record.event.data["n"] for record in records if record.event] == list(range(200))


async def test_the_newest_event_of_each_subject_is_found(broker: Broker, entity: str) -> None:
    for n in range(3):
        await broker.publish(Event.new(f"job.{entity}.progress", {"n": n}))
        await broker.publish(Event.new(f"job.{entity}.state", {"status": "running", "n": n}))

    latest = await broker.latest([f"job.{entity}.*"])

    assert [(r.subject, r.event.data["n"]) for r in latest if r.event] == [
        (f"job.{entity}.progress", 2),
        (f"job.{entity}.state", 2),
    ]
    assert await broker.latest([f"job.{entity}.nothing"]) == []


async def test_live_copies_carry_the_sequence_and_the_one_before_on_their_subject(broker: Broker, entity: str) -> None:
    heard: list[Record] = []
    listening = await listen(broker.connection, f"job.{entity}.>", heard.append)
    a = await broker.publish(Event.new(f"job.{entity}.a"))
    b = await broker.publish(Event.new(f"job.{entity}.b"))
    c = await broker.publish(Event.new(f"job.{entity}.a"))
    await eventually(lambda: len(heard) == 3)
    await listening.stop()
    await broker.publish(Event.new(f"job.{entity}.a"))
    await broker.connection.flush()

    assert [(r.sequence, r.previous) for r in heard] == [(a.sequence, 0), (b.sequence, 0), (c.sequence, a.sequence)]


async def test_overlapping_subscriptions_are_heard_in_stream_order(broker: Broker, entity: str) -> None:
    heard: list[int] = []
    patterns = (f"job.{entity}.>", f"job.{entity}.a", f"job.{entity}.b")
    for pattern in patterns:
        await listen(broker.connection, pattern, lambda record: heard.append(record.sequence))
    await asyncio.gather(*(broker.publish(Event.new(f"job.{entity}.{'ab'[n % 2]}")) for n in range(300)))
    await eventually(lambda: len(heard) == 600)

    assert heard == sorted(heard)


async def test_a_request_nobody_answers_fails_at_once(broker: Broker) -> None:
    with pytest.raises(NoResponders):
        await broker.connection.ask("cmd.nobody.here", b"", timeout=5)


async def test_a_cancelled_flush_does_not_end_the_read_loop(broker: Broker) -> None:
    """nats-py settles a flush's future when the pong comes, and its read loop died of one that was cancelled."""
    for _ in range(20):
        flush = asyncio.ensure_future(broker.connection.flush())
        await asyncio.sleep(0)
        flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)

    await broker.connection.flush()
    assert (await broker.state()).epoch


async def test_a_payload_over_the_servers_limit_is_refused(broker: Broker, entity: str) -> None:
    with pytest.raises(Refused):
        await broker.publish(Event.new(f"job.{entity}.progress", {"x": "y" * (9 * 1024 * 1024)}))


async def test_the_caller_s_headers_are_left_as_they_were(broker: Broker, entity: str) -> None:
    headers = {"Nats-Msg-Id": f"{entity}-1"}

    await broker.store(f"ev.job.{entity}.x", b"{}", headers)

    assert headers == {"Nats-Msg-Id": f"{entity}-1"}


async def test_no_server_is_said_in_one_line() -> None:
    with pytest.raises(Unreachable, match="no NATS server answers at nats://127"):
        await Connection(BrokerSettings(url=f"nats://127.0.0.1:{free_port()}", connect_timeout=0.5), "t").open()


async def test_a_server_too_old_or_without_jetstream_is_refused() -> None:
    """A few lines of the NATS protocol: no old server can be had here, and its INFO is all that matters."""

    async def old(info: str) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"INFO {info}\r\n".encode())
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = Connection(BrokerSettings(url=f"nats://127.0.0.1:{port}", connect_timeout=PATIENCE), "t")
        try:
            with pytest.raises(Unsuitable) as fault:
                await connection.open()
            return str(fault.value)
        finally:
            await connection.close()
            server.close()

    common = '"server_id":"x","max_payload":1048576,"proto":1,"headers":true'
    assert "needs 2.12 or newer" in await old(f'{{{common},"version":"2.10.7","jetstream":true}}')
    assert "start it with -js" in await old(f'{{{common},"version":"2.15.1"}}')


async def test_an_event_published_while_the_server_is_down_arrives_when_it_is_back(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    try:
        async with Broker(BrokerSettings(server.url), "t") as broker:
            heard: list[Record] = []
            await listen(broker.connection, "job.>", heard.append)
            await broker.publish(Event.new("job.a.progress", {"n": 1}))
            assert server.process is not None
            server.process.kill()
            await server.process.wait()
            waiting = asyncio.ensure_future(broker.publish(Event.new("job.a.progress", {"n": 2})))
            await eventually(lambda: not broker.connection.connected)
            await server.start()

            assert (await waiting).sequence == 2
            await eventually(lambda: [r.sequence for r in heard] == [1, 2])
            # The memory stream went with the server; it is made again by itself.
            await eventually(lambda: _same(broker))
    finally:
        await server.stop()


async def _same(broker: Broker) -> bool:
    return await provisioning.diff(broker.connection, broker.topology) == []


async def test_a_publish_that_nobody_acknowledges_ends_in_a_timeout(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port()))
    await server.start()
    async with Broker(BrokerSettings(server.url), "t") as broker:
        await server.stop()
        with pytest.raises(Timeout):
            await broker.publish(Event.new("job.a.progress"), timeout=0.5)


async def test_a_data_folder_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedError, match="choose another with --data-dir"):
        await EmbeddedServer(EmbeddedSettings(tmp_path / "file", free_port())).start()


async def test_an_event_that_names_another_last_sequence_than_its_subject_has_is_a_conflict_and_no_loss(
    broker: Broker, entity: str
) -> None:
    event, other = Event.new(f"job.{entity}.x", {"n": 1}), Event.new(f"job.{entity}.x", {"n": 2})
    before = figures.published[REFUSED]

    first = await broker.publish(event, headers=_expecting(0))
    for repeated in (event, other):
        with pytest.raises(Conflict):
            await broker.publish(repeated, headers=_expecting(0))
    again = await broker.publish(event, headers=_expecting(first.sequence))
    second = await broker.publish(other, headers=_expecting(first.sequence))

    assert (again.duplicate, again.sequence) == (True, first.sequence) and not second.duplicate
    assert figures.published[REFUSED] == before


def _expecting(sequence: int) -> dict[str, str]:
    return {"Nats-Expected-Last-Subject-Sequence": str(sequence)}


@pytest.mark.parametrize(
    ("copies", "is_led"),
    [
        ([], True),
        ([{"active": 900_000_000}, {"active": 7_200_000_000}], True),
        ([{"active": 5_100_000_000}, {"active": 5_200_000_000}], False),
        ([{"active": 900_000_000, "offline": True}, {"active": 9_000_000_000}], False),
        ([{"active": 0}, {"active": 0}], False),
        ([{"active": 0}, {"active": 200_000_000}], True),
        ([{"active": 100}, {"active": 6_000_000_000}, {"active": 6_000_000_000}, {"active": 100}], True),
    ],
)
async def test_a_leader_that_has_not_heard_of_most_copies_for_an_election_s_time_may_have_been_replaced(
    broker: Broker, copies: list[dict[str, Any]], is_led: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = broker.shard(ORIGINAL)._stream
    info = await stream.info()
    info["cluster"] = {"leader": "n1", "replicas": copies} if copies else None

    async def told() -> dict[str, Any]:
        return info

    monkeypatch.setattr(stream, "info", told)

    assert (await broker.state()).is_led is is_led
