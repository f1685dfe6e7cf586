"""Events that wait too long become dead letters, and those that are gone a gap."""

from __future__ import annotations

from dataclasses import replace

from tests.edge.webhooks.fanout.fanning import KIB, LARGE, numbers
from tests.edge.webhooks.observing import PATIENT, reasons, state
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


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
