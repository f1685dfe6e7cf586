"""Snapshots of a real stream: as of a sequence, for any number of subjects, within bounds."""

from __future__ import annotations

import asyncio

import pytest

from router import snapshots
from router.broker import Broker
from router.event import Event
from router.position import of_one
from router.snapshots import Snapshots, StreamSnapshot


async def say(broker: Broker, subject: str, n: int = 0) -> int:
    return (await broker.publish(Event.new(subject, {"n": n}))).sequence


async def at(broker: Broker, shared: Snapshots, patterns: tuple[str, ...], upto: int, life: int = 0) -> StreamSnapshot:
    return await shared.at(patterns, of_one(upto), life, await broker.events_state())


async def newest(broker: Broker, shared: Snapshots, patterns: tuple[str, ...], upto: int, life: int) -> StreamSnapshot:
    return await shared.newest(patterns, of_one(upto), life, await broker.events_state())


async def test_a_snapshot_has_the_newest_of_each_subject_of_class_latest_as_of_its_sequence(
    broker: Broker, entity: str
) -> None:
    await say(broker, f"job.{entity}a.progress")
    b = await say(broker, f"job.{entity}b.progress")
    await say(broker, f"job.{entity}a.output")
    a = await say(broker, f"job.{entity}a.progress", 1)
    upto = await say(broker, f"job.{entity}b.output")
    await say(broker, f"job.{entity}b.progress", 2)

    found = await at(broker, Snapshots(broker), (f"job.{entity}a.*", f"job.{entity}b.*"), upto)

    assert ([record.sequence for record in found.records], found.upto, found.left_out) == ([b, a], of_one(upto), 0)


async def test_an_event_that_ends_a_run_stands_for_its_subject(broker: Broker, entity: str) -> None:
    await broker.publish(Event.new(f"job.{entity}.job_progress", {"status": "processing"}))
    last = (await broker.publish(Event.new(f"job.{entity}.job_progress", {"status": "completed"}))).sequence

    found = await at(broker, Snapshots(broker), (f"job.{entity}.*",), last)

    assert [record.sequence for record in found.records] == [last]


async def test_more_subjects_than_a_request_may_name_are_all_found_and_the_newest_are_kept_within_bounds(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Event.new(f"camera.{entity}-{number}.statistics", {"n": number}) for number in range(1100)]
    last = max(ack.sequence for ack in await asyncio.gather(*map(broker.publish, events)))

    found = await at(broker, Snapshots(broker), ("camera.*.statistics",), last)
    ours = [record for record in found.records if record.subject.startswith(f"camera.{entity}-")]
    assert len(ours) == 1100
    assert [record.sequence for record in found.records] == sorted(record.sequence for record in found.records)
    assert len(await broker.latest(["camera.*.statistics"], of_one(last))) == len(found.records)

    monkeypatch.setattr(snapshots, "MAX_EVENTS", 10)
    few = await at(broker, Snapshots(broker), ("camera.*.statistics",), last)
    assert [record.sequence for record in few.records] == [record.sequence for record in found.records[-10:]]
    assert few.left_out == len(found.records) - 10

    monkeypatch.setattr(snapshots, "MAX_BYTES", 3 * len(found.records[-1].payload) + 5)
    assert len((await at(broker, Snapshots(broker), ("camera.*.statistics",), last)).records) == 3


async def test_a_crowd_shares_one_snapshot_of_the_same_life(broker: Broker, entity: str) -> None:
    first = await say(broker, f"job.{entity}.progress")
    shared = Snapshots(broker)
    pattern = (f"job.{entity}.*",)

    one = await newest(broker, shared, pattern, first, life=1)
    later = await say(broker, f"job.{entity}.progress", 1)

    assert await newest(broker, shared, pattern, later, life=1) is one
    assert (await newest(broker, shared, pattern, later, life=2)).upto == of_one(later)


async def test_an_empty_stream_has_an_empty_snapshot(broker: Broker) -> None:
    assert (await at(broker, Snapshots(broker), (">",), 0)).records == []


async def test_the_pages_of_a_snapshot_are_of_one_that_is_read_once(broker: Broker, entity: str) -> None:
    first = await say(broker, f"job.{entity}.progress")
    shared = Snapshots(broker)
    pattern = (f"job.{entity}.*",)
    one = await newest(broker, shared, pattern, first, life=1)
    later = await say(broker, f"job.{entity}.progress", 1)
    newer = await at(broker, shared, pattern, later, life=1)

    assert await at(broker, shared, pattern, first, life=1) is one and newer is not one
    assert await at(broker, shared, pattern, first, life=2) is not one
    # Who goes on in an older one does not make it the newest.
    assert (await newest(broker, shared, pattern, later, life=2)).upto == of_one(later)
    for upto in range(later + 1, later + 1 + snapshots.CACHED_SNAPSHOTS):
        await at(broker, shared, pattern, upto, life=1)
    again = await at(broker, shared, pattern, first, life=1)
    assert again is not one and [r.sequence for r in again.records] == [r.sequence for r in one.records]
