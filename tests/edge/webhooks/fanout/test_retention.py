"""Events that wait too long become dead letters, and those that are gone a gap."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

import msgspec
import pytest

from edge.sessions.registry import Session
from edge.webhooks.fanout import retention, shard_fanout
from edge.webhooks.fanout.gaps import publish_gap
from edge.webhooks.fanout.shard_fanout import ShardFanout
from router.broker import Broker
from router.cursor import parse_cursor
from router.errors import Timeout
from router.layout import Shard
from router.record import Record
from tests.edge.webhooks.fanout.fanning import KIB, LARGE
from tests.edge.webhooks.observing import PATIENT, reasons, state
from tests.edge.webhooks.stage import Process, ReceivedPost, Receiver, Stage
from tests.waiting import eventually, in_time

# What is looked at now and then is so when a test says it, and not otherwise.
QUIET = replace(PATIENT, fanout=replace(PATIENT.fanout, check_every=3600.0, expire_every=3600.0))


async def joined(stage: Stage, process: Process, url: str) -> tuple[Session, ShardFanout]:
    """A session that has joined: one that is disabled before the fan-out begins has the past to catch up with, and waits."""
    await eventually(lambda: process.webhooks.fanout.owner)
    session = await stage.session(url, subjects=["agent.>"])
    (shard,) = process.webhooks.fanout._newest
    await eventually(lambda: session.id in shard.members.all and shard.members.all[session.id].joined)
    return session, shard


async def miss_what_comes(stage: Stage, shard: ShardFanout) -> None:
    """Lets the fan-out receive nothing, as where the server drops messages for a subscriber that is too slow."""
    last = (await stage.broker.state()).last
    source, progress = shard.source, shard.progress
    await eventually(lambda: progress.position == last and source.is_open and not source.needs_store)
    source._received = deque(maxlen=0)


async def disable(process: Process, session: Session) -> None:
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")


async def gaps(stage: Stage, session: Session) -> list[tuple[int, int]]:
    """The first and the last sequence of each gap that was told of a session."""
    events = [record.event for record in (await stage.broker.read("system.webhook.gap", 0)).records]
    told = [event.data for event in events if event is not None and event.data["session_id"] == session.id]
    assert {gap["stream"] for gap in told} <= {"EVENTS"}
    return [(gap["first"], gap["last"]) for gap in told]


async def lost(stage: Stage, session: Session) -> list[int]:
    """The sequences that were told as lost."""
    return [sequence for first, last in await gaps(stage, session) for sequence in range(first, last + 1)]


def sequences(posts: list[ReceivedPost]) -> set[int]:
    """The sequences of the events in some posts."""
    return {parse_cursor(msgspec.json.decode(post.body)["cursor"]).parts[0].sequence for post in posts}


def posted(receiver: Receiver) -> set[int]:
    """The sequences that were posted."""
    return sequences(receiver.posts)


async def test_what_ran_out_of_retention_while_a_session_waited_is_told_as_a_gap(stage: Stage, receiver: Receiver):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(QUIET)
    session, shard = await joined(stage, process, receiver.url)
    await disable(process, session)
    before = (await stage.broker.state()).last
    await stage.publish("agent.run-1.progress", text=LARGE)
    # From here on it waits, so that the fan-out itself is not too late for it, however slow it is.
    await eventually(lambda: session.id in shard.members.waiting)
    await stage.publish("agent.run-1.progress", 19, text=LARGE)

    await process.webhooks.enable(session.id)

    async def each_is_posted_or_told() -> bool:
        # The gaps themselves take room, and what they displace may be lost, too.
        return sorted([*await lost(stage, session), *posted(receiver)]) == list(range(before + 1, before + 21))

    await eventually(each_is_posted_or_told)
    told = await gaps(stage, session)
    assert told and process.webhooks.stats(session.id).gaps == len(told)


async def test_what_is_told_as_a_gap_while_its_session_may_go_on_again_is_told_once(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(replace(QUIET, fanout=replace(QUIET.fanout, expire_every=0.1)))
    session, shard = await joined(stage, process, receiver.url)
    other, _ = await joined(stage, process, receiver.url)
    await disable(process, session)
    await disable(process, other)
    begun, may_end = asyncio.Event(), asyncio.Event()
    told = []

    async def publish_slowly(broker: Broker, about: Session, shard: Shard, first: int, last: int) -> None:
        if about.id == session.id:
            told.append((first, last))
            begun.set()
            await may_end.wait()
        await publish_gap(broker, about, shard, first, last)

    monkeypatch.setattr(retention, "publish_gap", publish_slowly)
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    await in_time(begun.wait())

    await process.webhooks.enable(session.id)
    await process.webhooks.enable(other.id)
    # The sessions that wait are looked through together.
    await eventually(lambda: shard.members.all[other.id].joined)
    assert len(told) == 1
    may_end.set()

    await eventually(lambda: shard.members.all[session.id].joined)
    missed = await lost(stage, session)
    assert len(missed) == len(set(missed))
    assert process.webhooks.stats(session.id).gaps == len(await gaps(stage, session))


async def test_a_session_that_leaves_at_the_next_event_is_told_what_the_fan_out_was_too_late_for(
    stage: Stage, receiver: Receiver
):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(QUIET)
    session, shard = await joined(stage, process, receiver.url)
    await disable(process, session)
    await miss_what_comes(stage, shard)
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    first = (await stage.broker.state()).first

    shard.source._suspect()

    ((begin, end),) = await eventually(lambda: gaps(stage, session))
    assert 0 < begin < first and end == first - 1
    await eventually(lambda: not len(shard.members.joined) and session.id in shard.members.waiting)
    assert process.webhooks.stats(session.id).gaps == 1


async def test_a_gap_that_is_not_stored_is_published_again_before_the_fan_out_goes_on(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(QUIET)
    session, shard = await joined(stage, process, receiver.url)
    other, _ = await joined(stage, process, receiver.url)
    await miss_what_comes(stage, shard)
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    matched, passes = shard.progress.matched, asyncio.Event()
    tries: list[int] = []
    # Gaps are events, too, which others displace in so small a stream.
    told: dict[str, list[int]] = {session.id: [], other.id: []}

    async def publish_late(broker: Broker, about: Session, place: Shard, first: int, last: int) -> None:
        if about.id == session.id and not passes.is_set():
            tries.append(shard.progress.matched)
            raise Timeout("no answer")
        await publish_gap(broker, about, place, first, last)
        told[about.id] += range(first, last + 1)

    monkeypatch.setattr(shard_fanout, "publish_gap", publish_late)
    shard.source._suspect()
    await eventually(lambda: len(tries) >= 3)
    assert set(tries) == {matched} and receiver.posts == []
    # One that joins meanwhile misses what is missing, too.
    late = await stage.session(receiver.url, subjects=["agent.>"], start=matched)
    told[late.id] = []
    await eventually(lambda: late.id in shard.members.all and shard.members.all[late.id].joined)
    # Meanwhile more of it runs out of retention.
    last = (await stage.broker.state()).last
    await stage.publish("agent.run-1.progress", 10, text=LARGE)
    published = {*range(matched + 1, matched + 21), *range(last + 1, last + 11)}
    passes.set()

    def is_told_or_posted(about: Session) -> bool:
        mine = [post for post in receiver.posts if msgspec.json.decode(post.body)["session_id"] == about.id]
        found = [*told[about.id], *sequences(mine)]
        assert len(found) == len(set(found)), found
        return set(found) >= published

    await eventually(lambda: all(is_told_or_posted(each) for each in (session, other, late)))
    assert [process.webhooks.stats(each.id).gaps for each in (session, other)] == [1, 2]


@pytest.mark.parametrize("seen", [[16, 17, 18, 19, 20], [16, 20]], ids=["after the read", "during the read"])
async def test_where_events_run_out_of_retention_while_the_fan_out_reads_each_is_posted_or_told_as_lost(
    stage: Stage, receiver: Receiver, seen: list[int]
):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(QUIET)
    session, shard = await joined(stage, process, receiver.url)
    await miss_what_comes(stage, shard)
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    read, reads = shard.source.read, []

    async def read_slowly() -> list[Record]:
        reads.append(await read())
        if len(reads) > 1:
            return reads[-1]
        await stage.publish("agent.run-1.progress", 10, text=LARGE)
        shard.source._suspect()
        return [record for record in reads[0] if record.sequence in seen]

    shard.source.read = read_slowly  # type: ignore[method-assign]
    shard.source._suspect()

    async def each_is_posted_or_told() -> bool:
        return sorted([*await lost(stage, session), *posted(receiver)]) == list(range(1, 31))

    await eventually(each_is_posted_or_told)


async def test_what_waits_too_long_in_the_event_store_becomes_a_dead_letter(stage: Stage, receiver: Receiver):
    settings = replace(
        PATIENT, worker=replace(PATIENT.worker, keep=2.0), fanout=replace(PATIENT.fanout, expire_every=0.2)
    )
    process = await stage.process(settings)
    session = await stage.session(receiver.url)
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")

    await stage.publish("agent.run-1.progress", 40)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 40)
    assert await reasons(stage.broker, session) == ["endpoint_disabled"] * 40
    assert receiver.posts == []
