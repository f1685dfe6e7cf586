"""Sessions are backfilled from their own start, as long as there is room, until they join the others."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import ItemsView

import pytest

from edge.sessions.registry import Session
from edge.sessions.spec import SessionSpec
from edge.webhooks.fanout.backfill import Backfill
from edge.webhooks.fanout.members import Member, Members
from edge.webhooks.fanout.progress import FanoutProgress
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.queue.job import FRESH
from router.event import Event
from router.layout import ORIGINAL
from router.topology import HOOKS
from tests.edge.webhooks.fanout.fanning import KIB, NOWHERE, SMALL, fanning, held, jobs, numbers
from tests.edge.webhooks.observing import PATIENT, reasons, state
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


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


@pytest.mark.parametrize("mode", ["fifo", "keyed", "unordered"])
async def test_an_endpoint_that_comes_back_gets_every_event_in_its_order(stage: Stage, receiver: Receiver, mode: str):
    await stage.reshape(hooks_max_bytes=1024 * KIB, hooks_per_session=20)
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, mode=mode, retry_attempts=100)
    receiver.answer = 500
    count = 120

    async def say(first: int, last: int) -> None:
        for n in range(first, last):
            await stage.broker.publish(Event.new("agent.run-1.progress", {"n": n, "text": SMALL}, key=f"k{n % 3}"))

    await say(0, count // 2)
    await eventually(lambda: state(process, session) == "open")
    await say(count // 2, count)
    await eventually(lambda: process.webhooks.fanout.position >= count)
    assert await held(stage, session) <= 20
    failed = len(receiver.posts)
    receiver.answer = 200

    await eventually(lambda: process.webhooks.stats(session.id).delivered == count)

    del receiver.posts[:failed]
    got = numbers(receiver)
    assert sorted(got) == list(range(count))
    if mode == "fifo":
        assert got == sorted(got)
    if mode == "keyed":
        by_key = defaultdict(list)
        for n in got:
            by_key[n % 3].append(n)
        assert all(each == sorted(each) for each in by_key.values())
    assert await reasons(stage.broker, session) == []


class _Looked(dict[str, Member]):
    """Waiting sessions that count how often they are looked through."""

    times = 0

    def items(self) -> ItemsView[str, Member]:
        self.times += 1
        return super().items()


async def test_it_sleeps_while_no_session_waits():
    members, waiting = Members(FanoutProgress(), 1, asyncio.Event()), _Looked()
    members.waiting = waiting
    settings = FanoutSettings(room_every=0.0)
    # The other parts are for sessions that may go on, and there is none.
    backfill = Backfill(ORIGINAL, FanoutProgress(), members, None, None, None, None, None, None, settings)
    member = Member(Session(SessionSpec(id="sess_1", delivery_method="webhook", created=1, start=""), 1), 0, False, 0)
    member.not_before = math.inf

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(backfill.run(tasks))
        await asyncio.sleep(0.05)
        assert waiting.times == 0

        members.wait(member)
        await eventually(lambda: waiting.times >= 2)

        del waiting["sess_1"]
        await asyncio.sleep(0.05)
        looked = waiting.times
        await asyncio.sleep(0.05)
        assert waiting.times == looked
        running.cancel()
