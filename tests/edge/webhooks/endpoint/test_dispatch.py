"""Tests of edge/webhooks/endpoint/dispatch.py: which jobs of an endpoint are posted when."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

from aiohttp import web
from prometheus_client import REGISTRY

from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.queue.ordering import QueueSettings
from tests.edge.webhooks.observing import (
    NARROW,
    PATIENT,
    SHUT,
    Ledger,
    hold,
    keyed,
    nothing_left,
    reasons,
    state,
    state_changes,
)
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.edge.webhooks.test_modes import change
from tests.waiting import eventually


async def test_an_endpoint_that_is_quick_is_spared_the_backlog(stage: Stage, receiver: Receiver):
    # What was delivered is acknowledged a moment later, and until then is among the waiting.
    await stage.widen(1000)
    queue = QueueSettings(waiting=2, quick=64, pressed=2)
    process = await stage.process(replace(QUICK, worker=replace(QUICK.worker, queue=queue)))
    # With 32 places even an endpoint that needs most of a second is quick, and eight of each burst have to wait.
    session = await stage.session(receiver.url, concurrency=32)
    stats = process.webhooks.stats(session.id)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: stats.delivered == 1)
    before = REGISTRY.get_sample_value("edge_webhook_jobs_total", {"event": "parked"})

    for burst in range(1, 5):
        await asyncio.gather(*(stage.publish("agent.run-1.progress") for _ in range(40)))
        await eventually(lambda burst=burst: stats.delivered == 1 + 40 * burst)

    assert REGISTRY.get_sample_value("edge_webhook_jobs_total", {"event": "parked"}) == before


async def test_a_key_that_is_blocked_blocks_no_other_and_keeps_its_own_order(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, mode="keyed", retry_attempts=20)
    ledger = Ledger(receiver)
    blocked = True
    ledger.refuses = lambda n: blocked and n % 4 == 2

    await keyed(stage, "abcd", 40)

    free = [n for n in range(40) if n % 4 != 2]
    await eventually(lambda: sorted(ledger.taken) == free)
    blocked = False
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    for key in range(4):
        assert [n for n in ledger.taken if n % 4 == key] == list(range(key, 40, 4))
    await eventually(lambda: nothing_left(stage.broker))


async def test_keys_go_side_by_side(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, mode="keyed", concurrency=3)
    ledger = Ledger(receiver)
    ledger.gathers, ledger.slow = 3, 0.02

    await keyed(stage, "abcdef", 30)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    assert receiver.most_under_way == 3
    for key in range(6):
        assert [n for n in ledger.taken if n % 6 == key] == list(range(key, 30, 6))


async def test_no_more_posts_are_under_way_than_the_session_allows(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, concurrency=2)
    ledger = Ledger(receiver)
    ledger.gathers, ledger.slow = 2, 0.02

    await stage.publish("agent.run-1.progress", 30)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    assert receiver.most_under_way == 2


async def test_posts_keep_the_pace_that_is_set(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, rate=20.0)
    came: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        came.append(time.monotonic())
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress", 50)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 50)
    # One by one from the first on: 49 pauses of a twentieth of a second.
    assert came[-1] - came[0] >= 2.3


async def test_a_changed_rate_gives_no_second_first_post(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, rate=0.01)
    await stage.publish("agent.run-1.progress", 10)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    for rate in (0.011, 0.012, 0.013):
        await change(process, session, rate=rate, wanted_rate=rate)
        await eventually(lambda rate=rate: process.registry.sessions[session.id].spec.webhook.rate == rate)
        assert len(receiver.posts) == 1
    await change(process, session, rate=None, wanted_rate=None)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 10)


async def test_an_endpoint_that_has_not_agreed_gets_nothing_until_it_has(stage: Stage, receiver: Receiver):
    process = await stage.process(NARROW)
    session = await stage.session(receiver.url, active=False)
    well = await stage.session(receiver.url, subjects=["agent.run-2.>"])
    await stage.publish("agent.run-1.progress", 20)
    await stage.publish("agent.run-2.progress")

    await eventually(lambda: process.webhooks.stats(well.id).delivered == 1)
    assert len(receiver.posts) == 1
    await change(process, session, active=True)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 21)


async def test_a_dead_endpoint_costs_the_others_nothing(stage: Stage, receiver: Receiver):
    settings = replace(SHUT, partitions=1, worker=replace(SHUT.worker, credit=32))
    process = await stage.process(settings)
    never = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await never.wait()
        raise AssertionError

    async with Receiver().serving() as hanging:
        hanging.answer = hang
        dead = await stage.session(hanging.url, timeout=0.5, retry_attempts=20)
        well = [await stage.session(receiver.url, events=["progress"]) for _ in range(4)]
        for _ in range(4):
            await stage.publish("agent.run-1.progress", 10)
        await eventually(lambda: all(process.webhooks.stats(each.id).delivered == 40 for each in well))
        await eventually(lambda: state(process, dead) == "open")

        await stage.publish("agent.run-1.progress", 9)

        await eventually(lambda: all(process.webhooks.stats(each.id).delivered == 49 for each in well))
        # The dead one was shut all the while: nothing that it holds became free for the others.
        assert state(process, dead) == "open"
        assert hanging.most_under_way <= 8


async def test_an_endpoint_that_says_how_long_is_left_alone_as_a_whole(stage: Stage, receiver: Receiver):
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, mode="fifo")
    times: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        return web.Response(status=200) if len(times) > 1 else web.Response(status=429, headers={"Retry-After": "1"})

    receiver.answer = answer
    await stage.publish("agent.run-1.progress", 6)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 6)
    assert times[1] - times[0] >= 0.99


async def test_keys_that_wait_in_the_backlog_each_for_its_own_time_are_all_tried_again(
    stage: Stage, receiver: Receiver
):
    """Without the sweep, which would find one that was forgotten."""
    patient = replace(
        PATIENT.worker, sweep=3600.0, schedule=(1.5,), breaker=CircuitBreakerSettings(failures=1000, min_attempts=1000)
    )
    process = await stage.process(replace(PATIENT, worker=patient))
    session = await stage.session(receiver.url, mode="keyed", retry_attempts=20)
    asked: dict[int, int] = {}

    async def answer(request: web.Request) -> web.Response:
        key = json.loads(await request.read())["data"]["n"] % 6
        asked[key] = asked.get(key, 0) + 1
        return web.Response(status=500 if asked[key] <= 3 else 200)

    receiver.answer = answer
    await keyed(stage, "abcdef", 30)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    await eventually(lambda: nothing_left(stage.broker))


async def test_behind_an_endpoint_that_fails_all_is_parked_and_goes_out_once_it_is_well(
    stage: Stage, receiver: Receiver
):
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, retry_attempts=20, timeout=600.0)
    fail = hold(receiver)
    await stage.publish("agent.run-1.progress", 40)
    await eventually(lambda: process.webhooks.stats(session.id).sent == 40)
    fail()
    await eventually(lambda: state(process, session) == "open")
    (dispatcher,) = [
        worker.dispatchers[session.id] for worker in process.webhooks._workers() if session.id in worker.dispatchers
    ]
    await eventually(lambda: dispatcher.parked >= 20)

    receiver.answer = 200

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    await eventually(lambda: nothing_left(stage.broker))
    await eventually(lambda: state(process, session) == "closed")

    async def announced() -> bool:
        found = await state_changes(stage, session)
        return found[0] == "opened" and found[-2:] == ["closed", "recovered"]

    await eventually(announced)
    assert process.webhooks.stats(session.id).failed == 0


async def test_an_endpoint_that_is_gone_is_disabled_and_gets_what_is_parked_once_it_is_enabled(
    stage: Stage, receiver: Receiver
):
    owner, other = await stage.process(PATIENT), await stage.process(PATIENT)
    await stage.settled()
    session = await stage.session(receiver.url)
    receiver.answer = 410
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: [state(each, session) for each in (owner, other)] == ["disabled"] * 2)
    await stage.publish("agent.run-1.progress", 30)
    last = (await stage.broker.state()).last
    receiver.answer = 200

    await eventually(lambda: max(each.webhooks.fanout.position for each in (owner, other)) >= last)
    assert len(receiver.posts) == 1
    assert (await other.webhooks.enable(session.id))["state"] == "closed"

    both = (owner, other)
    await eventually(lambda: sum(each.webhooks.stats(session.id).delivered for each in both) == 30)
    await eventually(lambda: nothing_left(stage.broker))
    assert await reasons(stage.broker, session) == ["gone"]
    assert sorted(await state_changes(stage, session)) == ["deadlettered", "disabled", "enabled"]
