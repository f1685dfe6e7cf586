"""Backpressure: sessions get jobs as their endpoint and their share of HOOKS allow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from edge.sessions.registry import Session
from edge.webhooks.queue.job import FRESH
from router.deadletter import webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.topology import HOOKS
from tests.edge.webhooks.fanout.fanning import KIB, LARGE, NOWHERE, SMALL, fanning, held, jobs, numbers
from tests.edge.webhooks.observing import PATIENT, SHUT, reasons, state
from tests.edge.webhooks.stage import Process, Receiver, Stage
from tests.waiting import eventually


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
    assert [await reasons(stage.broker, each) for each in dead] == [[]] * len(dead)


@pytest.mark.slow
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
