from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
from aiohttp import web

from edge.sessions.registry import Session
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.queue.ordering import QueueSettings
from tests.edge.webhooks.stage import QUICK, Process, Receiver, Stage, mortal
from tests.edge.webhooks.test_modes import keyed
from tests.edge.webhooks.test_order import nothing_left, reasons
from tests.waiting import eventually

PATIENT = replace(
    QUICK,
    worker=replace(
        QUICK.worker,
        queue=QueueSettings(waiting=8, quick=8, pressed=2, hold=0.1),
        breaker=CircuitBreakerSettings(pause=0.5, probes=2, max_pause=0.5),
    ),
)
# Once it is open, it stays so.
SHUT = replace(PATIENT, worker=replace(PATIENT.worker, breaker=CircuitBreakerSettings(pause=600.0, probes=1)))


async def news(stage: Stage, session: Session) -> list[str]:
    records = (await stage.broker.read("system.webhook.>", 0)).records
    return [
        record.event.type
        for record in records
        if record.event is not None and record.event.data["session_id"] == session.id
    ]


def state(process: Process, session: Session) -> str:
    shown: str = process.webhooks.health(session.id)["state"]
    return shown


def nothing_under_way(first: Process, other: Process, session: Session) -> bool:
    workers = [worker for process in (first, other) for worker in process.webhooks._workers()]
    return not any(worker.dispatchers[session.id].under_way for worker in workers if session.id in worker.dispatchers)


def hold(receiver: Receiver) -> Callable[[], None]:
    """Lets posts hang, so that the fan-out makes jobs of all events (of forty: seven eighths of what a session may hold, at
    which one that was refused a job goes on); what is returned answers them and all later ones 500."""
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response(status=500)

    def fail() -> None:
        released.set()
        receiver.answer = 500

    receiver.answer = hang
    return fail


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

    async def told() -> bool:
        found = await news(stage, session)
        return found[0] == "opened" and found[-2:] == ["closed", "recovered"]

    await eventually(told)
    assert process.webhooks.stats(session.id).failed == 0


async def test_what_is_shut_stays_shut_at_the_next_owner_and_is_seen_everywhere(stage: Stage, receiver: Receiver):
    first, other = [await stage.process(mortal(SHUT)) for _ in range(2)]
    await stage.settled()
    session = await stage.session(receiver.url, retry_attempts=20)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 20)
    await eventually(lambda: {state(first, session), state(other, session)} == {"open"})
    # The breaker opens at the first failures, and others may be under way by then.
    await eventually(lambda: nothing_under_way(first, other, session))
    posts = len(receiver.posts)

    owner = first if any(session.id in worker.dispatchers for worker in first.webhooks._workers()) else other
    await owner.die()
    stage.processes.remove(owner)
    last = other if owner is first else first
    await eventually(lambda: len(last.webhooks.partitions.terms) == 2)

    async def all_parked() -> bool:
        return last.webhooks.health(session.id)["parked"] > 0

    receiver.answer = 200
    await eventually(all_parked)
    await eventually(lambda: last.webhooks.health(session.id)["oldest_parked_seconds"])
    assert len(receiver.posts) == posts
    assert last.webhooks.health(session.id)["until"] is not None


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
    assert sorted(await news(stage, session)) == ["deadlettered", "disabled", "enabled"]


async def test_an_operator_disables_from_any_process(stage: Stage, receiver: Receiver):
    both = [await stage.process(PATIENT), await stage.process(PATIENT)]
    await stage.settled()
    session = await stage.session(receiver.url)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: len(receiver.posts) == 1)

    for process in both:
        await process.webhooks.disable(session.id, "maintenance")
        await eventually(lambda: [state(each, session) for each in both] == ["disabled"] * 2)
        before = len(receiver.posts)
        await stage.publish("agent.run-1.progress", 5)
        last = (await stage.broker.state()).last
        await eventually(lambda last=last: max(each.webhooks.fanout.position for each in both) >= last)
        assert len(receiver.posts) == before
        assert both[0].webhooks.health(session.id)["reason"] == "maintenance"
        await process.webhooks.enable(session.id)
        await eventually(lambda before=before: len(receiver.posts) == before + 5)


async def test_what_waits_too_long_for_a_disabled_endpoint_becomes_a_dead_letter(stage: Stage, receiver: Receiver):
    process = await stage.process(replace(PATIENT, worker=replace(PATIENT.worker, keep=1.0)))
    session = await stage.session(receiver.url)
    receiver.answer = 410
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: state(process, session) == "disabled")

    await stage.publish("agent.run-1.progress", 40)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 41)
    assert sorted(await reasons(stage.broker, session)) == ["endpoint_disabled"] * 40 + ["gone"]
    assert len(receiver.posts) == 1
    await eventually(lambda: nothing_left(stage.broker))


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


async def test_a_pause_is_seen_from_every_process(stage: Stage, receiver: Receiver):
    processes = [await stage.process(PATIENT), await stage.process(PATIENT)]
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3000"})

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    for process in processes:
        await eventually(lambda process=process: process.webhooks.health(session.id)["state"] == "paused")
        shown = process.webhooks.health(session.id)
        assert (shown["reason"], shown["until"] is not None) == ("throttled (HTTP 429)", True)


async def test_a_changed_address_takes_effect_and_nothing_is_lost(stage: Stage, receiver: Receiver):
    process = await stage.process(SHUT)
    async with Receiver().serving() as gone:
        gone.answer = 410
        session = await stage.session(gone.url)
        await stage.publish("agent.run-1.progress")
        await eventually(lambda: state(process, session) == "disabled")
        await stage.publish("agent.run-1.progress", 9)

        assert session.spec.webhook is not None
        known = process.registry.sessions[session.id]

        hook = msgspec.structs.replace(session.spec.webhook, url=receiver.url)
        await process.registry.update(known, msgspec.structs.replace(known.spec, webhook=hook))
        await process.webhooks.enable(session.id)

        await eventually(lambda: process.webhooks.stats(session.id).delivered == 9)
        assert len(gone.posts) == 1 and len(receiver.posts) == 9


async def test_a_disabled_endpoint_of_many_keys_is_looked_after_as_one(stage: Stage, receiver: Receiver):
    """One look into its log a sweep, and not one for each of its keys."""
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, mode="keyed", timeout=600.0)
    fail = hold(receiver)
    await keyed(stage, [f"key-{n}" for n in range(40)], 40)
    await eventually(lambda: process.webhooks.stats(session.id).sent == 40)
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")
    fail()
    receiver.answer = 204
    (dispatcher,) = [
        worker.dispatchers[session.id] for worker in process.webhooks._workers() if session.id in worker.dispatchers
    ]
    await eventually(lambda: dispatcher.parked == 40 and not dispatcher.under_way)
    asked: list[str] = []

    def heard(_subject: str, _reply: str, payload: bytes, _headers: bytes) -> None:
        said = json.loads(payload)
        if session.id in said.get("next_by_subj", ""):
            asked.append(said["next_by_subj"])

    await stage.broker.connection.listen("$JS.API.STREAM.MSG.GET.HOOKS", heard)
    await eventually(lambda: len(asked) >= 4)
    assert {subject.rpartition(".")[2] for subject in asked} == {"*"}
    # And none of them is lost by that.
    await process.webhooks.enable(session.id)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 40)
    await eventually(lambda: nothing_left(stage.broker))


async def test_what_waits_too_long_under_many_keys_becomes_dead_letters(stage: Stage, receiver: Receiver):
    process = await stage.process(replace(PATIENT, worker=replace(PATIENT.worker, keep=3.0)))
    session = await stage.session(receiver.url, mode="keyed")
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")

    await keyed(stage, [f"key-{n}" for n in range(25)], 45)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 45)
    assert await reasons(stage.broker, session) == ["endpoint_disabled"] * 45
    assert receiver.posts == []
    await eventually(lambda: nothing_left(stage.broker))


async def test_keys_that_wait_in_the_log_each_for_its_own_time_are_all_tried_again(stage: Stage, receiver: Receiver):
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
