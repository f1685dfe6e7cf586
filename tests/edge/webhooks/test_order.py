from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from router.topology import HOOKS
from tests.edge.webhooks.observing import NARROW, Ledger, firsts, nothing_left, reasons
from tests.edge.webhooks.stage import Receiver, Stage, mortal
from tests.waiting import eventually


async def test_a_retry_of_an_ordered_session_is_never_overtaken(stage: Stage, receiver: Receiver):
    await stage.process(NARROW)
    await stage.session(receiver.url, mode="fifo", retry_attempts=10)
    ledger = Ledger(receiver)
    tries: dict[int, int] = {}

    def refuses(n: int) -> bool:
        tries[n] = tries.get(n, 0) + 1
        return n % 7 == 3 and tries[n] < 3

    ledger.refuses = refuses
    await stage.publish("agent.run-1.progress", 40)

    await eventually(lambda: len(ledger.taken) == 40)
    assert ledger.taken == list(range(40))
    assert receiver.most_under_way == 1
    await eventually(lambda: nothing_left(stage.broker))


async def test_after_the_last_attempt_an_ordered_session_goes_on(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, mode="fifo", retry_attempts=1)
    ledger = Ledger(receiver)
    ledger.refuses = lambda n: n == 2

    await stage.publish("agent.run-1.progress", 6)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    assert ledger.taken == [0, 1, 3, 4, 5]
    assert ledger.asked.count(2) == 2
    assert await reasons(stage.broker, session) == ["exhausted"]
    await eventually(lambda: nothing_left(stage.broker))


@pytest.mark.slow
async def test_an_ordered_backlog_survives_changes_of_owner_in_order_and_none_is_skipped(
    stage: Stage, receiver: Receiver
):
    await stage.widen(1000)
    settings = mortal(NARROW)
    process = await stage.process(settings)
    session = await stage.session(receiver.url, mode="fifo", retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.01
    ledger.refuses = lambda n: len(ledger.asked) % 13 == 5
    publishing = asyncio.ensure_future(stage.publish("agent.run-1.progress", 120))

    for turn in range(3):
        await eventually(lambda turn=turn: len(firsts(ledger.taken)) > 15 * (turn + 1))
        if turn == 1:
            await process.stop()
        else:
            await process.die()
        stage.processes.remove(process)
        process = await stage.process(settings)
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 120)
    assert firsts(ledger.taken) == list(range(120))
    assert session.id in process.registry.sessions
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_failing_ordered_session_holds_nobody_up_and_none_of_the_places(stage: Stage, receiver: Receiver):
    settings = replace(NARROW, partitions=1, worker=replace(NARROW.worker, credit=16, schedule=(30.0,)))
    process = await stage.process(settings)
    async with Receiver().serving() as failing:
        failing.answer = 500
        blocked = await stage.session(failing.url, mode="fifo", retry_attempts=20, events=["progress"])
        well = await stage.session(receiver.url, events=["completed"])
        await stage.publish("agent.run-1.progress", 45)
        await eventually(lambda: failing.posts)

        await stage.publish("agent.run-1.completed", 30)

        await eventually(lambda: process.webhooks.stats(well.id).delivered == 30)
        (worker,) = process.webhooks._workers()
        await eventually(lambda: worker.dispatchers[blocked.id].parked == 45 or len(worker.in_hand) <= 1)
        consumer = worker.consumers.by_stream[HOOKS]
        await eventually(lambda: consumer.outstanding == 0)
