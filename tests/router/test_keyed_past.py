"""The newest event of each key on a real stream: across windows, as of a sequence, by what is remembered, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router import keyed_past, provisioning
from router.broker import Broker, Page
from router.event import Event
from router.events_state import EventsState, StreamState, of_stream
from router.keyed_past import KeyedPast, ReadBudget, is_keyed, is_named_by_key
from router.layout import Shard
from router.position import Position, of_one
from router.record import Record
from tests.router.resharding import SHORT, broker_of, reshard, reshard_soon


async def say(broker: Broker, subject: str, campaign: str, clicks: int) -> int:
    event = Event.new(subject, {"campaignId": campaign, "metrics": {"clicks": clicks}}, type="campaign_metrics")
    return (await broker.publish(event)).sequence


def told(records: list[Record]) -> dict[str, int]:
    return {
        record.event.data["campaignId"]: record.event.data["metrics"]["clicks"]
        for record in records
        if record.event is not None
    }


@pytest.fixture
async def subject(entity: str) -> AsyncIterator[str]:
    yield f"campaign.{entity}.campaign_metrics"


class CountingBroker:
    """Counts the reads, and passes them on."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.after: list[int] = []

    async def read(self, pattern: str, after: int, upto: int = 0) -> Page:
        self.after.append(after)
        return await self._broker.read(pattern, after, upto=upto)

    def shard(self, _shard: Shard) -> CountingBroker:
        return self

    async def latest(self, patterns: list[str], upto: Position) -> list[Record]:
        return await self._broker.latest(patterns, upto)


async def newest(past: KeyedPast, subject: str, upto: int, **allowed: int) -> tuple[dict[str, int], bool]:
    last = await last_of(past, subject, upto)
    records, whole = await past.newest(last, of_one(upto), kept(1, upto), 0, ReadBudget(**allowed))
    return told(records), whole


def kept(first: int, last: int) -> EventsState:
    """A stream that keeps the events from one sequence to another."""
    return of_stream(StreamState("e" * 8, first, last, 0, 0))


async def last_of(past: KeyedPast, subject: str, upto: int) -> Record:
    (record,) = await past._broker.latest([subject], of_one(upto))
    return record


async def test_a_key_that_was_silent_for_hundreds_of_events_is_found(broker: Broker, subject: str) -> None:
    await say(broker, subject, "silent", 7)
    await asyncio.gather(*(say(broker, subject, f"c{n % 3}", n) for n in range(600)))
    last = [await say(broker, subject, f"c{n}", 1000 + n) for n in range(3)][-1]

    assert await newest(KeyedPast(broker), subject, last) == (
        {"silent": 7, "c0": 1000, "c1": 1001, "c2": 1002},
        True,
    )


async def test_it_is_as_of_its_sequence_whatever_is_remembered(broker: Broker, subject: str) -> None:
    past = KeyedPast(broker)
    await say(broker, subject, "a", 1)
    early = await say(broker, subject, "b", 1)
    late = await say(broker, subject, "a", 2)

    assert (await newest(past, subject, late))[0] == {"a": 2, "b": 1}
    assert (await newest(past, subject, early))[0] == {"a": 1, "b": 1}
    assert (await newest(past, subject, late))[0] == {"a": 2, "b": 1}


async def test_what_is_remembered_is_not_read_again(broker: Broker, subject: str) -> None:
    counting = CountingBroker(broker)
    past = KeyedPast(counting)  # type: ignore[arg-type]
    first = await say(broker, subject, "a", 1)
    await newest(past, subject, first)
    before = len(counting.after)
    last = await say(broker, subject, "b", 2)

    assert (await newest(past, subject, last))[0] == {"a": 1, "b": 2}
    # "b" was at hand, and behind it comes what is known.
    assert counting.after[before:] == []
    await say(broker, subject, "c", 3)
    assert (await newest(past, subject, await say(broker, subject, "b", 4)))[0] == {"a": 1, "b": 4, "c": 3}
    assert counting.after[before:] == [last]
    before = len(counting.after)
    # Nothing of it came since.
    other = await say(broker, subject.replace("campaign.", "campaign.other-"), "x", 1)
    assert (await newest(past, subject, other))[0] == {"a": 1, "b": 4, "c": 3}
    assert len(counting.after) == before

    # In another life of the stream the same sequence may be something else.
    await past.newest(await last_of(past, subject, other), of_one(other), kept(1, other), 1, ReadBudget())
    assert len(counting.after) > before


async def test_past_its_bounds_it_says_that_keys_may_be_missing_and_shows_no_older_value_of_one(
    broker: Broker, subject: str
) -> None:
    past = KeyedPast(broker)
    known = await say(broker, subject, "a", 1)
    assert await newest(past, subject, known) == ({"a": 1}, True)
    await say(broker, subject, "a", 2)
    await asyncio.gather(*(say(broker, subject, f"c{n % 3}", n) for n in range(600)))
    last = await say(broker, subject, "b", 3)

    # "a" is remembered as 1, which has been superseded by what may not be read.
    found, whole = await newest(past, subject, last, requests=2)
    assert not whole and "a" not in found
    # Next time it goes on where it ended, and in the end has looked through all.
    for _ in range(100):
        found, whole = await newest(past, subject, last, requests=2)
        if whole:
            break
        assert "a" not in found or found["a"] == 2
    assert (found["a"], found["b"], whole) == (2, 3, True)


async def test_what_the_stream_no_longer_keeps_is_not_shown_and_memory_is_bounded(
    broker: Broker, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = KeyedPast(broker)
    gone = await say(broker, subject, "gone", 1)
    last = await say(broker, subject, "a", 1)
    await newest(past, subject, last)

    state = kept(gone + 1, last)
    found, _ = await past.newest(await last_of(past, subject, last), of_one(last), state, 0, ReadBudget())
    assert told(found) == {"a": 1}

    monkeypatch.setattr(keyed_past, "MAX_KEYS", 2)
    other = subject.replace(".campaign_metrics", ".other")
    last = await say(broker, other, "b", 1)
    await newest(past, other, last)
    assert list(past._known) == [(other, "EVENTS")]


async def test_a_key_of_a_former_generation_is_found_and_its_older_value_is_not_shown(own_nats: str) -> None:
    subject, other = "campaign.shop.campaign_metrics", "campaign.new.campaign_metrics"
    async with broker_of(own_nats) as broker:
        await provisioning.apply(broker.connection, SHORT, broker.layout)
        await say(broker, "campaign.else.campaign_metrics", "x", 1)
        for campaign, clicks in (("silent", 1), ("both", 1), ("former", 1), ("both", 2)):
            await say(broker, subject, campaign, clicks)
        await reshard(broker, 3)
        for campaign, clicks in (("both", 3), ("new", 1)):
            await say(broker, subject, campaign, clicks)
        await say(broker, other, "a", 1)
        before = (await broker.events_state()).last
        await reshard_soon(broker, 2)
        await say(broker, subject, "former", 9)
        state = await broker.events_state()

        async def found(of: str, upto: Position, **allowed: int) -> tuple[dict[str, int], bool]:
            (last,) = await broker.latest([of], upto)
            records, whole = await past.newest(last, upto, state, 0, ReadBudget(**allowed))
            return told(records), whole

        past = KeyedPast(broker)
        whole = {"silent": 1, "both": 3, "new": 1, "former": 9}, True
        assert await found(subject, state.last) == whole
        # As of a position in a former generation: what came in the next one is not shown.
        assert await found(subject, before) == ({**whole[0], "former": 1}, True)
        assert await found(other, state.last) == ({"a": 1}, True)
        # What is remembered costs nothing.
        assert await found(subject, state.last, requests=0) == whole
        # Within bounds: an older value of a key is never shown, and more is found each time.
        past = KeyedPast(broker)
        for _ in range(30):
            some, done = await found(subject, state.last, requests=1)
            assert some.items() <= whole[0].items()
            if done:
                break
        assert (some, done) == whole


def test_types_with_a_key_and_events_with_one_of_their_publisher_are_keyed() -> None:
    assert is_keyed(Event.new("campaign.c.campaign_metrics", {"metrics": {}}))
    assert is_keyed(Event.new("job.a.progress", {"progress": 1}, key="mine"))
    assert not is_keyed(Event.new("job.a.progress", {"progress": 1}))


def test_a_subject_may_be_named_by_the_key_of_its_events() -> None:
    assert is_named_by_key(Event.new("campaign.c=2E1.campaign_metrics", {"campaignId": "c.1", "metrics": {}}))
    assert not is_named_by_key(Event.new("campaign.shop.campaign_metrics", {"campaignId": "c.1", "metrics": {}}))
    assert not is_named_by_key(Event.new("campaign.shop.campaign_metrics", {"metrics": {}}))
