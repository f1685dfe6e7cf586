"""Tests that a webhook endpoint which takes nothing keeps no event from the others, and gets all of its own once it is back."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from prometheus_client import REGISTRY

from edge.sessions.registry import Session
from edge.webhooks.queue.job import FRESH, PARKED
from router.errors import Refused
from router.event import Event
from router.topology import HOOKS
from tests.edge.webhooks.observing import PATIENT, SHUT, reasons, state
from tests.edge.webhooks.stage import Process, Receiver, Stage, mortal
from tests.waiting import eventually

KIB = 1024
LARGE = "x" * (100 * KIB)
SMALL = "x" * KIB


async def held(stage: Stage, session: Session) -> int:
    """The copies that a session has in HOOKS."""
    count = 0
    for subjects in (f"{FRESH}.*.{session.id}", f"{PARKED}.*.{session.id}.*"):
        info = await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}", {"subjects_filter": subjects})
        count += sum((info["state"].get("subjects") or {}).values())
    return count


def numbers(receiver: Receiver) -> list[int]:
    """What the events say that a receiver got, in the order of its first post of each."""
    return list(dict.fromkeys(msgspec.json.decode(post.body)["data"]["n"] for post in receiver.posts))


async def fails(process: Process, stage: Stage, dead: Sequence[Session], subject: str) -> None:
    """Lets the breakers of dead endpoints open."""
    await stage.publish(subject, 6)
    await eventually(lambda: {state(process, each) for each in dead} == {"open"})


@pytest.mark.parametrize(("dead", "text"), [(1, LARGE), (11, SMALL)], ids=["one with large", "eleven with small"])
async def test_dead_endpoints_keep_no_event_from_the_others(stage: Stage, receiver: Receiver, dead: int, text: str):
    await stage.reshape(hooks_max_bytes=2048 * KIB, hooks_per_session=50_000)
    process = await stage.process(SHUT)
    async with Receiver().serving() as failing:
        failing.answer = 500
        shut = [await stage.session(failing.url, subjects=["dead.>"], retry_attempts=20) for _ in range(dead)]
        well = [await stage.session(receiver.url, subjects=["well.>"]) for _ in range(24)]
        # Three times what HOOKS holds, for each of them as if it were alone.
        for _ in range(6 * KIB * KIB // len(text) // dead // 20 + 1):
            await stage.publish("dead.run.progress", 20, text=text)

        await stage.publish("well.run.progress", 36)

        await eventually(lambda: all(process.webhooks.stats(each.id).delivered == 36 for each in well))
    assert all([not await reasons(stage.broker, each) for each in shut])


async def test_a_flood_before_the_breaker_opens_leaves_room_for_the_others(stage: Stage, receiver: Receiver):
    await stage.reshape(hooks_max_bytes=2048 * KIB, hooks_per_session=50_000)
    dead = [await stage.session("http://127.0.0.1:9/", subjects=["dead.>"], mode="keyed") for _ in range(3)]
    for n in range(60):
        await stage.broker.publish(Event.new("dead.run.progress", {"text": LARGE}, key=f"k{n}"))
    process = await stage.process(SHUT)
    well = await stage.session(receiver.url, subjects=["well.>"])

    await stage.publish("well.run.progress", 36)

    await eventually(lambda: process.webhooks.stats(well.id).delivered == 36)
    info = await stage.broker.connection.api(f"STREAM.INFO.{HOOKS}")
    assert info["state"]["bytes"] < 0.8 * 2048 * KIB
    assert all([not await reasons(stage.broker, each) for each in dead])


async def test_a_disabled_endpoint_holds_nothing_and_gets_all_once_it_is_enabled(stage: Stage, receiver: Receiver):
    await stage.reshape(hooks_max_bytes=1024 * KIB)
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, mode="fifo")
    await process.webhooks.disable(session.id, "maintenance")
    await eventually(lambda: state(process, session) == "disabled")

    await stage.publish("agent.run-1.progress", 30, text=LARGE)

    await eventually(lambda: process.webhooks.fanout.position >= 30)
    assert await held(stage, session) == 0
    await eventually(lambda: REGISTRY.get_sample_value("edge_webhook_waiting_sessions", {"reason": "endpoint"}) == 1)
    assert await process.webhooks.waiting_events(process.registry.sessions[session.id]) >= 30
    await process.webhooks.enable(session.id)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30)
    assert numbers(receiver) == list(range(30))


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


@pytest.mark.parametrize("mode", ["fifo", "unordered"])
async def test_a_kill_while_sessions_wait_loses_nothing(stage: Stage, receiver: Receiver, mode: str):
    await stage.reshape(hooks_per_session=20)
    settings = mortal(PATIENT)
    first = await stage.process(settings)
    session = await stage.session(receiver.url, mode=mode, retry_attempts=100)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 60)
    await eventually(lambda: state(first, session) == "open")
    receiver.answer = 200
    await eventually(lambda: first.webhooks.stats(session.id).delivered >= 5)
    await first.die()
    stage.processes.remove(first)
    rest = [Event.new("agent.run-1.progress", {"n": n}) for n in range(60, 90)]
    for event in rest:
        await stage.broker.publish(event)

    await stage.process(settings)

    await eventually(lambda: len(set(numbers(receiver))) == 90)
    assert await reasons(stage.broker, session) == []


async def test_what_ran_out_of_retention_while_a_session_waited_is_told_as_a_gap(stage: Stage, receiver: Receiver):
    await stage.reshape(events_max_bytes=512 * KIB)
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, subjects=["agent.>"])
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    await eventually(lambda: process.webhooks.fanout.position >= 20)
    first = (await stage.broker.state()).first

    await process.webhooks.enable(session.id)

    async def told() -> bool:
        records = (await stage.broker.read("system.webhook.gap", 0)).records
        gaps = [record.event.data for record in records if record.event is not None]
        return [(gap["session_id"], gap["last"]) for gap in gaps] == [(session.id, first - 1)]

    await eventually(told)
    await eventually(lambda: numbers(receiver)[-1:] == [19])
    assert process.webhooks.stats(session.id).gaps == 1


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


async def test_a_refusal_of_hooks_stops_nobody_else(stage: Stage, receiver: Receiver):
    """Where somebody else fills HOOKS, the accounts are wrong for a moment; who is refused then waits on its own."""
    await stage.reshape(hooks_max_bytes=512 * KIB)
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url)
    await eventually(lambda: process.webhooks.fanout.owner)
    filled = 0
    for size in (8000, 10):
        with contextlib.suppress(Refused):
            while True:
                subject = f"hook.park.0.sess_none.k{filled}"
                await stage.broker.store(subject, b"?" * size, {"Nats-Msg-Id": f"fill-{filled}"})
                filled += 1

    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: process.webhooks.fanout.position >= 5)
    await stage.broker.connection.api(f"STREAM.PURGE.{HOOKS}", {"filter": "hook.park.0.sess_none.*"})

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    assert sorted(numbers(receiver)) == list(range(5))
    assert filled
