from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.queue.job import FRESH
from edge.webhooks.queue.ordering import Head
from edge.webhooks.service import WebhookSettings
from router.broker import Page
from router.cluster.role import RoleSettings
from router.deadletter import webhook_subject
from router.deadletters import DeadLetters
from router.nats.bucket import Bucket
from router.topology import ENDPOINTS, HOOKS
from tests.edge.webhooks.stage import QUICK, Process, Receiver, Stage, mortal
from tests.waiting import eventually

# No partition is worked, so that the jobs stay where they can be counted.
IDLE = WebhookSettings(partitions=2, fanout=FanoutSettings(role=RoleSettings(ttl=600.0, poll=0.1), save_every=0.1))
NOWHERE = "http://127.0.0.1:9/"


async def jobs(stage: Stage, session_id: str) -> int:
    info = await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", {"subjects_filter": f"{FRESH}.*.{session_id}"})
    return sum((info["state"].get("subjects") or {}).values())


async def until_stored(stage: Stage, session_id: str, count: int) -> None:
    """Waits for a session's jobs: where the fan-out heard of it late, its position says nothing of them."""

    async def stored() -> bool:
        return await jobs(stage, session_id) == count

    await eventually(stored)


class Fanning(Process):
    """An edge process that makes jobs and works none."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._tasks[1].cancel()
        self._tasks[1] = asyncio.ensure_future(self._fan())

    async def _fan(self) -> None:
        await self.registry.ready.wait()
        await self.webhooks.fanout.run()


async def fanning(stage: Stage, settings: WebhookSettings = IDLE) -> Fanning:
    stage.kind = Fanning
    process = await stage.process(settings)
    assert isinstance(process, Fanning)
    return process


async def test_each_session_gets_a_job_for_each_event_it_shows(stage: Stage):
    await fanning(stage)
    everything = await stage.session(NOWHERE)
    some = await stage.session(NOWHERE, subjects=["agent.*.progress"])
    typed = await stage.session(NOWHERE, events=["completed"])

    await stage.publish("agent.run-1.progress", 3)
    await stage.publish("agent.run-1.completed")

    async def counted() -> bool:
        return [await jobs(stage, s.id) for s in (everything, some, typed)] == [4, 3, 1]

    await eventually(counted)


async def test_what_is_addressed_to_another_session_is_not_for_this_one(stage: Stage):
    await fanning(stage)
    one, other = await stage.session(NOWHERE), await stage.session(NOWHERE)

    await stage.publish(f"session.{one.id}.progress")
    await stage.publish("agent.run-1.progress")

    async def counted() -> bool:
        return [await jobs(stage, s.id) for s in (one, other)] == [2, 1]

    await eventually(counted)


async def test_a_session_learnt_late_is_filled_from_its_own_start(stage: Stage):
    process = await fanning(stage)
    early = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 20)
    await eventually(lambda: process.webhooks.fanout.position >= 20)

    late = await stage.session(NOWHERE, start=5)
    await stage.publish("agent.run-1.progress", 5)

    async def counted() -> bool:
        return [await jobs(stage, s.id) for s in (early, late)] == [25, 20]

    await eventually(counted)


async def test_filling_a_session_while_events_come_loses_and_repeats_none(stage: Stage):
    process = await fanning(stage)
    await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 20)

    async def talk() -> None:
        for _ in range(20):
            await stage.publish("agent.run-1.progress")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk())
        late = await stage.session(NOWHERE, start=0)

    async def counted() -> bool:
        return await jobs(stage, late.id) == 40 and process.webhooks.stats(late.id).sent == 40

    await eventually(counted)


async def test_a_session_made_while_nobody_fans_out_misses_nothing(stage: Stage):
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 7)

    await fanning(stage)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 7

    await eventually(counted)


async def test_a_successor_goes_on_where_the_dead_owner_was(stage: Stage):
    first = await fanning(stage, mortal(IDLE))
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)
    second = await fanning(stage, mortal(IDLE))

    await first.die()
    stage.processes.remove(first)
    await stage.publish("agent.run-1.progress", 5)

    await eventually(lambda: second.webhooks.fanout.owner)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 10

    await eventually(counted)
    await eventually(lambda: second.webhooks.stats(session.id).sent == 5)


async def test_an_owner_that_stops_is_followed_at_once_and_nothing_is_repeated(stage: Stage):
    first = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)
    second = await fanning(stage)

    await first.stop()
    stage.processes.remove(first)

    # Long before the lease that the first one had would have ended.
    await eventually(lambda: second.webhooks.fanout.owner)
    await stage.publish("agent.run-1.progress", 1)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 6 and second.webhooks.stats(session.id).sent == 1

    await eventually(counted)


async def test_more_than_a_session_may_hold_waits_in_the_event_store(stage: Stage):
    process = await fanning(stage)
    session = await stage.session(NOWHERE)

    await stage.publish("agent.run-1.progress", 53)

    async def full() -> bool:
        # Jobs that are stored while HOOKS is measured count twice for a moment, and who waits goes on at seven eighths.
        return 43 < await jobs(stage, session.id) <= 50

    await eventually(lambda: process.webhooks.fanout.position >= 53)
    await eventually(full)
    held = await jobs(stage, session.id)
    assert (await DeadLetters(stage.broker).read(pattern=webhook_subject(session.id))).deadletters == []
    await stage.broker.connection.api(f"STREAM.PURGE.{HOOKS}", {"filter": f"{FRESH}.*.{session.id}"})

    async def rest() -> bool:
        return await jobs(stage, session.id) == 53 - held

    await eventually(rest)
    stats = process.webhooks.stats(session.id)
    assert (stats.sent, stats.failed) == (53, 0)


async def test_the_past_waits_for_room_instead(stage: Stage):
    # Before the fan-out begins, so that it is the past for certain.
    await stage.publish("agent.run-1.progress", 60)
    process = await fanning(stage)
    session = await stage.session(NOWHERE, start=0)

    async def full() -> bool:
        return await jobs(stage, session.id) == 50

    await eventually(full)
    await stage.broker.connection.api(f"STREAM.PURGE.{HOOKS}", {"filter": f"{FRESH}.*.{session.id}"})

    await eventually(lambda: process.webhooks.stats(session.id).sent == 60)
    assert process.webhooks.stats(session.id).failed == 0


async def test_a_deleted_session_leaves_no_jobs_behind(stage: Stage):
    process = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)

    await process.registry.delete(session.id)

    async def gone() -> bool:
        return await jobs(stage, session.id) == 0

    await eventually(gone)


async def test_what_is_no_event_is_passed_over(stage: Stage):
    await fanning(stage)
    session = await stage.session(NOWHERE)

    await stage.broker.store("ev.agent.run-1.progress", b"not msgpack", {"Nats-Msg-Id": "x"})
    await stage.publish("agent.run-1.progress")

    async def counted() -> bool:
        return await jobs(stage, session.id) == 1

    await eventually(counted)


async def test_a_stream_that_was_made_anew_is_all_news(stage: Stage):
    process = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)

    await process.stop()
    stage.processes.remove(process)
    await stage.broker.connection.api("STREAM.DELETE.EVENTS")
    await stage.broker._reapply()
    await stage.publish("agent.run-1.progress", 3)
    await fanning(stage)

    async def counted() -> bool:
        return await jobs(stage, session.id) == 8

    await eventually(counted)


async def test_what_was_written_of_a_session_after_its_deletion_is_removed(stage: Stage, receiver: Receiver) -> None:
    process = await stage.process(replace(QUICK, fanout=replace(QUICK.fanout, sweep_every=0.2)))
    live = await stage.session(receiver.url)
    endpoints = Bucket(stage.broker.connection, ENDPOINTS)
    await eventually(lambda: process.webhooks.fanout.owner)

    gone = "sess_000000000000000000000000"
    await endpoints.put(f"health.{gone}", msgspec.json.encode(EndpointState()))
    await endpoints.put(f"health.{live.id}", msgspec.json.encode(EndpointState()))
    await endpoints.put(f"head.{gone}.all", msgspec.json.encode(Head("1")))
    await stage.broker.store(f"hook.park.0.{gone}.all", b"?", {})

    async def removed() -> bool:
        keys = await endpoints.keys()
        info = await stage.broker.connection.api("STREAM.INFO.HOOKS", {"subjects_filter": f"hook.park.*.{gone}.*"})
        return keys == [f"health.{live.id}"] and not info["state"].get("subjects")

    await eventually(removed)


async def test_quiet_events_cost_the_store_no_question_where_none_is_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    process = await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, check_every=3600.0)))
    session = await stage.session(NOWHERE)
    asked: list[str] = []
    read = process.broker.read

    async def counted(pattern: str, *args: Any, **named: Any) -> Page:
        asked.append(pattern)
        return await read(pattern, *args, **named)

    async def fan_out_one(number: int) -> None:
        await stage.publish("agent.run-1.progress")

        async def stored() -> bool:
            return await jobs(stage, session.id) == number

        await eventually(stored)

    await fan_out_one(1)
    monkeypatch.setattr(process.broker, "read", counted)
    for number in range(2, 12):
        await fan_out_one(number)

    # The one with which the fan-out found that nothing lies behind what it had.
    assert len(asked) <= 1


async def test_events_that_were_not_heard_are_read_once_that_is_noticed(stage: Stage):
    process = await fanning(stage, replace(IDLE, fanout=replace(IDLE.fanout, check_every=0.2)))
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress")
    fanout = process.webhooks.fanout

    async def counted(number: int) -> bool:
        return await jobs(stage, session.id) == number

    await eventually(lambda: counted(1))
    # As where the server drops messages for a subscriber that is too slow.
    fanout._source._received = deque(maxlen=0)
    await stage.publish("agent.run-1.progress", 3)

    await eventually(lambda: counted(4))
