"""Tests of edge/webhooks/worker/backlog_sweep.py: parked jobs that wait too long become dead letters."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.edge.webhooks.observing import PATIENT, hold, keyed, nothing_left, reasons, state
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


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


async def test_a_disabled_endpoint_of_many_keys_is_looked_after_as_one(stage: Stage, receiver: Receiver):
    """One look into its log a sweep, and not one for each of its keys."""
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, mode="keyed", timeout=600.0)
    fail = hold(receiver)
    await keyed(stage, [f"key-{n}" for n in range(40)], 40)
    await eventually(lambda: process.webhooks.stats(session.id).sent == 40)
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")
    (dispatcher,) = [
        worker.dispatchers[session.id] for worker in process.webhooks._workers() if session.id in worker.dispatchers
    ]
    # One that was begun and is not there yet would be answered as later ones are.
    await eventually(lambda: receiver.under_way == dispatcher.under_way)
    fail()
    receiver.answer = 204
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
