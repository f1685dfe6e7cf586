"""Tests of edge/webhooks/worker/takeover.py: a new owner goes on where its predecessor was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from edge.webhooks.queue.backlog import Backlog
from router.topology import HOOKS
from tests.edge.webhooks.observing import NARROW, Ledger, bodies, firsts, keyed, nothing_left, reasons
from tests.edge.webhooks.stage import QUICK, Receiver, Stage, mortal
from tests.waiting import eventually


async def test_a_process_that_dies_while_it_posts_loses_nothing(stage: Stage, receiver: Receiver):
    first = await stage.process(mortal(QUICK))
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    (event_id,) = await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    await first.die()
    stage.processes.remove(first)
    release.set()
    second = await stage.process(mortal(QUICK))

    await eventually(lambda: second.webhooks.stats(session.id).delivered == 1)
    assert {post.headers["webhook-id"] for post in receiver.posts} == {receiver.posts[0].headers["webhook-id"]}
    assert [body["id"] for body in bodies(receiver)] == [event_id, event_id]
    await eventually(lambda: nothing_left(stage.broker))


async def test_keys_keep_their_order_through_a_change_of_owner(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(mortal(NARROW))
    await stage.session(receiver.url, mode="keyed", retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.01
    ledger.refuses = lambda n: len(ledger.asked) % 11 == 5
    publishing = asyncio.ensure_future(keyed(stage, "abcde", 150))

    await eventually(lambda: len(ledger.taken) > 40)
    await process.die()
    stage.processes.remove(process)
    await stage.process(mortal(NARROW))
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 150)
    for key in range(5):
        assert [n for n in firsts(ledger.taken) if n % 5 == key] == list(range(key, 150, 5))
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_key_that_halts_leaves_the_others_alone_and_halts_at_the_next_owner(stage: Stage, receiver: Receiver):
    process = await stage.process(mortal(NARROW))
    session = await stage.session(receiver.url, mode="keyed", on_exhausted="halt", retry_attempts=0)
    ledger = Ledger(receiver)
    halted = True
    ledger.refuses = lambda n: halted and n == 1

    await keyed(stage, "ab", 20)

    await eventually(lambda: sorted(ledger.taken) == list(range(0, 20, 2)))
    await process.stop()
    stage.processes.remove(process)
    second = await stage.process(mortal(NARROW))
    halted = False
    await keyed(stage, "a", 5, first=100)
    await eventually(lambda: len(firsts(ledger.taken)) == 15)
    assert ledger.asked.count(1) == 1
    await second.webhooks.enable(session.id)
    await eventually(lambda: len(firsts(ledger.taken)) == 25)
    assert [n for n in firsts(ledger.taken) if n < 100 and n % 2] == list(range(1, 20, 2))
    await eventually(lambda: nothing_left(stage.broker))


@pytest.mark.slow
async def test_a_job_that_its_workers_die_of_becomes_a_dead_letter(stage: Stage, receiver: Receiver):
    settings = mortal(replace(QUICK, worker=replace(QUICK.worker, kills=2)))
    session = await stage.session(receiver.url)
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await never.wait()
        raise AssertionError

    receiver.answer = hang
    process = await stage.process(settings)
    await stage.publish("agent.run-1.progress")
    for death in range(3):
        await eventually(lambda death=death: len(receiver.posts) == death + 1)
        await process.die()
        stage.processes.remove(process)
        process = await stage.process(settings)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert await reasons(stage.broker, session) == ["poison"]
    assert len(receiver.posts) == 3


async def test_what_comes_while_the_backlog_of_a_dead_owner_is_looked_up_goes_behind_it(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    await stage.widen(1000)
    first = await stage.process(mortal(NARROW))
    session = await stage.session(receiver.url, mode="keyed", timeout=600.0)
    ledger = Ledger(receiver)
    ledger.gathers = 2  # the first is not answered
    await keyed(stage, "a", 10)

    async def parked() -> int:
        request = {"subjects_filter": f"hook.park.*.{session.id}.*"}
        subjects = (await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", request))["state"].get("subjects")
        return sum((subjects or {}).values())

    async def all_but_the_first() -> bool:
        return await parked() == 9

    await eventually(all_but_the_first)
    await first.die()
    stage.processes.remove(first)
    # The first of the log is looked up for longer than the other jobs need to come.
    looked_up, page = asyncio.Event(), Backlog.page

    async def slow_page(self: Backlog, *given: Any) -> Any:
        await looked_up.wait()
        return await page(self, *given)

    monkeypatch.setattr(Backlog, "page", slow_page)
    ledger.released.set()
    second = await stage.process(mortal(NARROW))
    await eventually(
        lambda: any(
            dispatcher.queues for worker in second.webhooks._workers() for dispatcher in worker.dispatchers.values()
        )
    )
    (worker,) = [worker for worker in second.webhooks._workers() if session.id in worker.dispatchers]
    await eventually(lambda: worker.catch_up.done)
    last = (await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}"))["state"]["last_seq"]
    await keyed(stage, "a", 5, first=10)
    await eventually(lambda: worker.catch_up.reached >= last + 5)
    looked_up.set()

    await eventually(lambda: len(firsts(ledger.taken)) == 15)
    assert firsts(ledger.taken) == list(range(15))
    await eventually(lambda: nothing_left(stage.broker))
