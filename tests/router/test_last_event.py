"""What a publisher follows: the newest event of a subject, also where a reshard has put it into a former stream."""

from __future__ import annotations

import pytest

from router.broker import Broker
from router.codec import encode
from router.dedup import of_event
from router.errors import Conflict
from router.event import Event
from router.last_event import LastEvent, last_event, put_behind
from router.nats.stream import Ack
from tests.router.resharding import broker_of, reshard
from tests.waiting import eventually

SUBJECT = "job.a.said"


def said(number: int) -> Event:
    return Event.new(SUBJECT, {"n": number})


async def follow(broker: Broker, last: LastEvent, event: Event) -> Ack:
    return await put_behind(broker, last, event, encode(event), 30, of_event(event))


@pytest.mark.parametrize("leader", [False, True])
async def test_an_event_follows_the_last_one_of_its_subject(broker: Broker, entity: str, leader: bool) -> None:
    event = Event.new(f"job.{entity}.said", {"n": 1})
    first = await last_event(broker, event.subject, leader=leader)
    ack = await follow(broker, first, event)

    last = await last_event(broker, event.subject, leader=leader)

    assert first == LastEvent(0, 0)
    assert (last.sequence, last.ack, last.name) == (ack.sequence, Ack(ack.sequence, True, "EVENTS"), of_event(event))
    with pytest.raises(Conflict):
        await follow(broker, first, Event.new(event.subject, {"n": 2}))


async def test_behind_a_reshard_the_first_event_of_a_subject_follows_none(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(said(0))
        before = await broker.publish(said(1))
        expected = await last_event(broker, SUBJECT)
        await reshard(broker, 2)
        await eventually(lambda: broker.layout.current.number == 1)

        # What was read before is void, although the subject has no other event by now.
        with pytest.raises(Conflict):
            await follow(broker, expected, said(2))
        last = await last_event(broker, SUBJECT)
        assert (last.sequence, last.generation) == (0, 1)
        assert last.ack == Ack(before.sequence, True, "EVENTS")

        ack = await follow(broker, last, said(3))
        assert ack.stream.startswith("EVENTS_1_")
        with pytest.raises(Conflict):
            await follow(broker, last, said(4))


async def test_a_publisher_that_meets_the_seal_is_told_as_of_a_conflict(own_nats: str) -> None:
    """It does not know of the reshard before JetStream refuses it."""
    async with broker_of(own_nats) as broker, broker_of(own_nats) as other:
        expected = await last_event(broker, SUBJECT)
        broker.layouts._noticed = lambda *_: None  # type: ignore[method-assign]
        await reshard(other, 2)

        with pytest.raises(Conflict):
            await follow(broker, expected, said(1))

        assert (await last_event(broker, SUBJECT)).generation == 1
