"""A record that is no event, or that some loop fails at, ends nothing: it is passed over, and lies among the dead letters."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest

from edge.webhooks.queue.job import PARTITIONS, partition_of
from router import codec
from router.broker import Broker
from router.deadletter import DeadLetter
from router.deadletters import DeadLetters
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.letters import letters_under
from tests.waiting import eventually, unhurried

# Just above the year 9999: the "never" of .NET and the maximum of protobuf's Timestamp.
NEVER = msgpack.Timestamp(253_402_300_799, 999_999_900)
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    async with Broker(unhurried(url), "another client") as broker:
        yield broker


def foreign(entity: str, data: Any, number: int = 0, kind: str = "output") -> bytes:
    """An event as another client packs it."""
    subject = f"job.{entity}.{kind}"
    event = {"id": f"{entity}-{number}", "type": kind, "source": "other", "subject": subject, "time": 1}
    return bytes(msgpack.packb({**event, "data": data}))


async def undecodable(broker: Broker) -> list[DeadLetter]:
    return await letters_under(broker, "dead.ingest.EVENTS")


@pytest.mark.parametrize(
    "data",
    [{"until": NEVER}, {"deep": [{"until": NEVER}]}, {msgpack.ExtType(5, b"x"): 1}],
)
async def test_what_no_reader_could_decode_is_refused_over_http(edge: RunningEdge, entity: str, data: Any) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    body = msgpack.packb({"subject": f"job.{entity}.output", "data": data})

    answer = await edge.http.post("/events", content=body, headers=MSGPACK)
    polled = await edge.poll(session, "?cursor=earliest")

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_event")
    assert polled["events"] == []


async def test_an_ext_type_is_shown_in_its_documented_form_on_every_transport(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    body = msgpack.packb({"subject": f"job.{entity}.output", "data": {"own": msgpack.ExtType(7, b"abc")}})
    async with edge.socket(session) as socket, edge.sse(session) as sse:
        await socket.control("ready")
        await sse.next()

        answer = await edge.http.post("/events", content=body, headers=MSGPACK)
        shown = [
            *await socket.events(1),
            *await sse.events(1),
            *(await edge.poll(session, "?cursor=earliest"))["events"],
        ]

    assert answer.status_code == 201
    assert [event["data"] for event in shown] == [{"own": {"$ext": 7, "data": "YWJj"}}] * 3


async def test_malformed_data_that_came_by_nats_are_a_dead_letter_with_the_field_and_reach_no_reader(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    malformed = foreign(entity, {"tool_name": 7}, kind="tool_use")
    async with edge.socket(session) as socket:
        await socket.control("ready")
        ack = await store.store(f"ev.job.{entity}.tool_use", malformed, {})
        await edge.numbers(entity, 1)

        heard = await socket.events(1)
        polled = await edge.poll(session, "?cursor=earliest")
        (letter,) = await eventually(lambda: letters_of(store, ack.sequence))

    assert [event["event_type"] for event in [*heard, *polled["events"]]] == ["output", "output"]
    assert (letter.reason, letter.payload) == ("malformed_event", malformed)
    assert letter.detail == "tool_use: data.tool_name: expected str, got int"
    shown = (await edge.http.get(f"/deadletters/{letter.sequence}")).json()
    assert (shown["reason"], shown["event"]["data"]) == ("malformed_event", {"tool_name": 7})


async def letters_of(broker: Broker, sequence: int) -> list[DeadLetter]:
    return [letter for letter in await undecodable(broker) if letter.origin.sequence == sequence]


async def test_one_undecodable_record_stops_no_poll_no_webhook_and_no_start(
    edge_factory: EdgeFactory, own_nats: str, receiver: Receiver, entity: str
) -> None:
    poison = foreign(entity, {"until": NEVER})
    async with connected(own_nats) as broker:
        async with edge_factory(own_nats) as edge:
            session = await edge.session(subjects=[f"job.{entity}.>"])
            hook = await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
            ack = await broker.store(f"ev.job.{entity}.output", poison, {})
            await edge.numbers(entity, 1)

            polled = await edge.poll(session, "?cursor=earliest")
            await eventually(lambda: len(receiver.posts) == 1)
            (letter,) = await eventually(lambda: undecodable(broker))

            assert [event["data"] for event in polled["events"]] == [{"n": 0}]
            assert (letter.origin.sequence, letter.payload, letter.reason) == (ack.sequence, poison, "decode_error")
            assert "10000" in letter.detail

        # At the next start it is met again, and is no other letter for it.
        async with edge_factory(own_nats) as edge:
            await edge.numbers(entity, 1, start=1)
            await eventually(lambda: len(receiver.posts) == 2)
            again = await edge.poll(session, "?cursor=earliest")
            assert (await edge.http.get("/readyz")).status_code == 200

            async def is_counted() -> bool:
                # Kept over the restart, so that of the first process is among them.
                return bool((await edge.stats(hook))["events_delivered"] == 2)

            await eventually(is_counted)

        assert [event["data"] for event in again["events"]] == [{"n": 0}, {"n": 1}]
        assert [json.loads(post.body)["data"] for post in receiver.posts] == [{"n": 0}, {"n": 1}]
        assert len(await undecodable(broker)) == 1


async def test_an_event_that_cannot_be_encoded_is_a_dead_letter_and_every_reader_goes_on_behind_it(
    edge_factory: EdgeFactory, own_nats: str, receiver: Receiver, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_json(value: Any) -> bytes:
        if value["data"] == {"n": 1}:
            raise ValueError("no form in JSON")
        return codec.to_json(value)

    monkeypatch.setattr(sys.modules["edge.dialects.callback"], "to_json", to_json)
    async with edge_factory(own_nats) as edge, connected(own_nats) as broker:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
        async with edge.socket(session) as socket, edge.sse(session) as sse:
            await socket.control("ready")
            await sse.next()
            await edge.numbers(entity, 3)
            shown = [await socket.events(2), await sse.events(2)]
            async with edge.sse(session, "?cursor=earliest") as late:
                shown.append(await late.events(2))
        polled = await edge.poll(session, "?cursor=earliest")
        (letter,) = await eventually(lambda: undecodable(broker))
        await eventually(lambda: len(receiver.posts) == 2)

    assert [[event["data"]["n"] for event in events] for events in shown] == [[0, 2]] * 3
    assert ([event["data"]["n"] for event in polled["events"]], polled["count"]) == ([0, 2], 2)
    assert "no form in JSON" in letter.detail
    assert letter.reason == "fault"


async def test_records_that_nobody_heard_live_are_dead_letters_once_they_are_read(
    edge_factory: EdgeFactory, own_nats: str, entity: str
) -> None:
    async with connected(own_nats) as broker:
        for number in range(300):
            await broker.store(f"ev.job.{entity}.output", foreign(entity, {"until": NEVER}, number), {})
        async with edge_factory(own_nats) as edge:
            session = await edge.session(subjects=[f"job.{entity}.>"])
            polled = await edge.poll(session, "?cursor=earliest&limit=10")
            again = await edge.poll(session, "?cursor=earliest&limit=10")

            async def all_buried() -> bool:
                return await DeadLetters(broker).count(pattern="dead.ingest.EVENTS.>") == 300

            await eventually(all_buried)

    assert polled["events"] == again["events"] == []
    assert not polled["has_more"] and not again["has_more"]


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("LEASES", "fanout.position"),
        ("LEASES", "fanout.session.sess_odd"),
        ("LEASES", "webhook.owner.0"),
        ("ENDPOINTS", "health.sess_odd"),
        ("ENDPOINTS", "head.sess_odd.all"),
        ("JOBS", "redrive.job.0123456789abcdef"),
        ("JOBS", "recovery.job.0123456789abcdef"),
        ("SESSIONS", "sess_odd"),
    ],
)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe no JSON", b"[1]", b"{}", b"[" * 5000], ids=["bytes", "kind", "fields", "deep"]
)
async def test_a_stored_value_that_cannot_be_decoded_stops_no_edge(
    edge_factory: EdgeFactory,
    nats_server: str,
    store: Broker,
    receiver: Receiver,
    entity: str,
    *,
    bucket: str,
    key: str,
    value: bytes,
) -> None:
    name = key.replace("odd", entity).replace("0123456789abcdef", entity[1:])
    await store.store(f"$KV.{bucket}.{name}", value, {})
    try:
        async with edge_factory() as edge:
            await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
            await store.store(f"$KV.{bucket}.{name}", value + b" ", {})
            await edge.numbers(entity, 1)

            await eventually(lambda: len(receiver.posts) == 1)
            assert (await edge.http.get("/readyz")).status_code == 200
    finally:
        await store.store(f"$KV.{bucket}.{name}", b"", {"KV-Operation": "DEL"})


async def test_reading_goes_on_while_many_undecodable_records_arrive(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await socket.control("ready")
        for number in range(50):
            await store.store(f"ev.job.{entity}.output", foreign(entity, {"until": NEVER}, number), {})
            await edge.numbers(entity, 1, start=number)

        events = await socket.events(50)

    assert [event["data"]["n"] for event in events] == list(range(50))


async def test_a_stored_session_of_an_unknown_kind_fails_neither_metrics_nor_others(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    name = f"sess_{entity}"
    await store.store(f"$KV.SESSIONS.{name}", json.dumps({"id": name, "delivery_method": "pigeon"}).encode(), {})
    other = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)

    try:
        assert (await edge.poll(other, "?cursor=earliest"))["count"] == 1
        assert (await edge.http.get("/metrics")).status_code == 200
        assert (await edge.http.get(f"/callbacks/sessions/{name}")).status_code == 404
    finally:
        await store.store(f"$KV.SESSIONS.{name}", b"", {"KV-Operation": "DEL"})


async def test_a_job_with_headers_that_are_not_ours_ends_no_work(
    edge: RunningEdge, store: Broker, receiver: Receiver, entity: str
) -> None:
    hook = await edge.session(
        delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], retry_attempts=0
    )
    strange = {"X-Event": "e" * 3000, "X-Subject": "\u00b2 no subject", "X-Sequence": "7", "X-Queued": "1"}
    subject = f"hook.q.{partition_of(hook, PARTITIONS)}.{hook}"
    for headers in (strange, {**strange, "X-Batch": "1"}, {**strange, "X-Sequence": "\u00b2"}):
        await store.store(subject, foreign(entity, {"n": 1}), headers)
        await store.store(subject, b"\xc1", headers)
    await edge.numbers(entity, 1, start=5)

    await eventually(lambda: any(json.loads(post.body)["data"] == {"n": 5} for post in receiver.posts), within=30)
    assert (await edge.http.get("/readyz")).status_code == 200
