"""Events that are stored with one write, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from router.batch import EncodedEvent, store_all
from router.broker import Broker
from router.codec import encode
from router.dedup import of_event
from router.errors import BrokerError, Forbidden, Refused, Timeout
from router.event import Event
from router.nats.error_codes import ErrorCode
from router.nats.publisher import Answers, Publish
from router.nats.stream import Ack
from router.topology import EVENTS, TopologySettings
from tests.router.resharding import all_stored, broker_of, ids, reshard


def some(entity: str, count: int) -> list[EncodedEvent]:
    made = [Event.new(f"job.{entity}.said", {"n": number}) for number in range(count)]
    return [EncodedEvent(event, encode(event), of_event(event), {"X-Place": event.id}) for event in made]


async def stored(broker: Broker, entity: str) -> list[Any]:
    return [record.event.data["n"] for record in (await broker.read(f"job.{entity}.>", 0)).records]


def answering(broker: Broker, monkeypatch: pytest.MonkeyPatch, **instead: Ack | BrokerError) -> None:
    """Has the first write answer for some places (`_1`) otherwise, and leave those unsent."""
    send = broker.publisher.send

    async def sends(messages: Sequence[Publish], answers: Answers | None = None) -> list[Ack | BrokerError]:
        sent = [message for place, message in enumerate(messages) if f"_{place}" not in instead]
        others = iter(await send(sent))
        return [instead.get(f"_{place}") or next(others) for place in range(len(messages))]

    monkeypatch.setattr(broker.publisher, "send", sends)


async def test_all_are_stored_in_their_order_with_one_write(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, answers, writes = some(entity, 50), [None] * 50, []
    send_all = broker.connection.send_all
    monkeypatch.setattr(
        broker.connection, "send_all", lambda messages: writes.append(len(messages)) or send_all(messages)
    )
    await store_all(broker, many[:1], [None])
    writes.clear()

    await store_all(broker, many, answers)

    assert writes == [50]
    acks = [answer for answer in answers if isinstance(answer, Ack)]
    assert [ack.duplicate for ack in acks] == [True] + [False] * 49
    assert [ack.sequence for ack in acks] == sorted(ack.sequence for ack in acks)
    assert await stored(broker, entity) == list(range(50))
    assert broker.acknowledged[EVENTS] == f"ev.job.{entity}.said"


async def test_one_that_was_not_acknowledged_is_tried_again_under_its_name(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, answers = some(entity, 3), [None] * 3
    # Known already: the other try finds it there.
    first = await broker.put(many[2].event, many[2].payload, dedup=many[2].dedup)
    answering(broker, monkeypatch, _1=Timeout(), _2=Refused(503, 10077, "raft: not leader"))

    await store_all(broker, many, answers)

    assert [isinstance(answer, Ack) and answer.duplicate for answer in answers] == [False, False, True]
    assert answers[2] == Ack(first.sequence, True, "EVENTS")
    assert sorted(await stored(broker, entity)) == [0, 1, 2]


async def test_what_is_refused_for_good_is_not_tried_again(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, answers = some(entity, 3), [None] * 3
    refusals = {"_0": Forbidden("job"), "_1": Refused(400, 10052, "bad request")}
    answering(broker, monkeypatch, **refusals)

    await store_all(broker, many, answers)

    assert answers[:2] == list(refusals.values()) and isinstance(answers[2], Ack)
    assert await stored(broker, entity) == [2]


async def test_who_cancels_finds_what_was_known(broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    many, answers = some(entity, 2), [None] * 2
    answering(broker, monkeypatch, _1=Timeout())
    begun = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Ack:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(broker, "put", never)
    storing = asyncio.ensure_future(store_all(broker, many, answers))
    await begun.wait()
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)

    assert isinstance(answers[0], Ack) and answers[1] is None


async def test_events_go_on_in_their_order_where_their_stream_is_sealed_meanwhile(own_nats: str) -> None:
    """The process does not know of the reshard before JetStream refuses what it sends."""
    async with broker_of(own_nats, TopologySettings()) as one, broker_of(own_nats, TopologySettings()) as other:
        one.layouts._noticed = lambda *_: None  # type: ignore[method-assign]
        events = [Event.new(f"job.e{n % 2}.said", {"n": n}, id=f"e{n % 2}-{n}") for n in range(6)]
        many = [EncodedEvent(event, encode(event), of_event(event), {}) for event in events]
        first: Answers = [None, None]
        await store_all(one, many[:2], first)
        await reshard(other, 2)

        answers: Answers = [None] * 6
        await store_all(one, many, answers)

        assert answers[:2] == [answer._replace(duplicate=True) for answer in first if isinstance(answer, Ack)]
        assert all(isinstance(answer, Ack) and answer.stream.startswith("EVENTS_1_") for answer in answers[2:])
        stored = await all_stored(one)
        found = [id for name in stored for id in ids(stored[name])]
        assert [id for id in found if id[1] == "0"] == ["e0-0", "e0-2", "e0-4"]
        assert [id for id in found if id[1] == "1"] == ["e1-1", "e1-3", "e1-5"]


async def test_what_is_tried_again_is_stored_in_its_order_by_entity(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, answers = some(entity, 5), [None] * 5
    lost = Timeout("the connection was lost")
    sealed = Refused(400, ErrorCode.STREAM_SEALED, "invalid operation on sealed stream")
    answering(broker, monkeypatch, _0=lost, _1=lost, _2=lost, _3=sealed, _4=sealed)
    store, calls = broker.store, 0

    async def slow_at_first(*given: Any) -> Ack:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.sleep(0.2)
        return await store(*given)

    monkeypatch.setattr(broker, "store", slow_at_first)

    await store_all(broker, many, answers)

    assert await stored(broker, entity) == [0, 1, 2, 3, 4]
    assert all(isinstance(answer, Ack) for answer in answers)


async def test_behind_an_event_that_may_be_stored_already_none_of_its_entity_is_sent(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, answers = some(entity, 3) + some(f"{entity}-b", 1), [None] * 4
    asked: list[str] = []

    async def find(subject: str, dedup: str) -> Ack | None:
        asked.append(dedup)
        if dedup == many[1].dedup:
            raise Timeout("it cannot be asked now")
        return None

    monkeypatch.setattr(broker.earlier, "active", True)
    monkeypatch.setattr(broker.earlier, "find", find)

    await store_all(broker, many, answers)

    assert [isinstance(answer, Ack) for answer in answers] == [True, False, False, True]
    assert await stored(broker, entity) == [0]
    assert asked == [many[place].dedup for place in (0, 1, 3)]
