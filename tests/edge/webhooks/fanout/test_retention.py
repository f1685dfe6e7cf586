"""Events that wait too long become dead letters, and those that are gone a gap."""

from __future__ import annotations

from collections import deque
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
        # One, or two where the fan-out itself was too late for some of them: each event is told as lost once.
        assert {gap["session_id"] for gap in gaps} <= {session.id} and {gap["stream"] for gap in gaps} <= {"EVENTS"}
        lost = [sequence for gap in gaps for sequence in range(gap["first"], gap["last"] + 1)]
        assert not lost or lost == list(range(lost[0], lost[0] + len(lost)))
        # What the gaps themselves take the room of is lost, and told, too; the first gap may be among it.
        return bool(lost) and lost[-1] >= first - 1 and process.webhooks.stats(session.id).gaps >= len(gaps)

    await eventually(lambda: numbers(receiver)[-1:] == [19])
    await eventually(told)


async def test_a_session_that_leaves_at_the_next_event_is_told_what_the_fan_out_was_too_late_for(
    stage: Stage, receiver: Receiver
):
    await stage.reshape(events_max_bytes=512 * KIB)
    patient = replace(PATIENT, fanout=replace(PATIENT.fanout, check_every=3600.0, expire_every=3600.0))
    process = await stage.process(patient)
    session = await stage.session(receiver.url, subjects=["agent.>"])
    await process.webhooks.disable(session.id)
    await eventually(lambda: state(process, session) == "disabled")
    (shard,) = process.webhooks.fanout._newest
    await eventually(lambda: len(shard.members.joined) == 1 and shard.source.is_open and not shard.source.needs_store)
    # As where the server drops messages for a subscriber that is too slow.
    shard.source._received = deque(maxlen=0)
    await stage.publish("agent.run-1.progress", 20, text=LARGE)
    first = (await stage.broker.state()).first

    shard.source._suspect()

    async def told() -> list[tuple[int, int]]:
        records = (await stage.broker.read("system.webhook.gap", 0)).records
        return [(record.event.data["first"], record.event.data["last"]) for record in records if record.event]

    ((begin, end),) = await eventually(told)
    assert 0 < begin < first and end == first - 1
    await eventually(lambda: not len(shard.members.joined) and session.id in shard.members.waiting)
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
