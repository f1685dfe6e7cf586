"""The newest event of each key on a real stream: across windows, as of a sequence, by what is remembered, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from router import keyed_past
from router.broker import Broker, Page
from router.event import Event
from router.keyed_past import KeyedPast, ReadBudget, is_keyed, is_named_by_key
from router.layout import Shard
from router.position import Position, of_one
from router.record import Record


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
    records, whole = await past.newest(await last_of(past, subject, upto), upto, 1, 0, ReadBudget(**allowed))
    return told(records), whole


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
    await past.newest(await last_of(past, subject, other), other, 1, 1, ReadBudget())
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

    assert told((await past.newest(await last_of(past, subject, last), last, gone + 1, 0, ReadBudget()))[0]) == {"a": 1}

    monkeypatch.setattr(keyed_past, "MAX_KEYS", 2)
    other = subject.replace(".campaign_metrics", ".other")
    last = await say(broker, other, "b", 1)
    await newest(past, other, last)
    assert list(past._known) == [other]


def test_types_with_a_key_and_events_with_one_of_their_publisher_are_keyed() -> None:
    assert is_keyed(Event.new("campaign.c.campaign_metrics", {"metrics": {}}))
    assert is_keyed(Event.new("job.a.progress", {"progress": 1}, key="mine"))
    assert not is_keyed(Event.new("job.a.progress", {"progress": 1}))


def test_a_subject_may_be_named_by_the_key_of_its_events() -> None:
    assert is_named_by_key(Event.new("campaign.c=2E1.campaign_metrics", {"campaignId": "c.1", "metrics": {}}))
    assert not is_named_by_key(Event.new("campaign.shop.campaign_metrics", {"campaignId": "c.1", "metrics": {}}))
    assert not is_named_by_key(Event.new("campaign.shop.campaign_metrics", {"metrics": {}}))
