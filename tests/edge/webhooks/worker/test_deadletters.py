"""Tests of edge/webhooks/worker/deadletters.py: each job that is given up becomes a dead letter of its own."""

from __future__ import annotations

from edge.sessions.endpoint.settings import BatchSettings
from router.deadletters import DeadLetters
from router.event import Event
from tests.edge.webhooks.observing import LONG, Batches, bodies, nothing_left, reasons, system_events
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_dead_letters_of_two_publishers_with_one_id_are_both_kept(stage: Stage, receiver: Receiver):
    await stage.process()
    session = await stage.session(receiver.url)
    receiver.answer = 400

    for source in ("alice", "bob"):
        await stage.broker.publish(Event.new("agent.run-1.completed", {"by": source}, source=source, id="1"))

    letters = DeadLetters(stage.broker)

    async def kept() -> bool:
        return len((await letters.read(pattern=f"dead.webhook.{session.id}")).deadletters) == 2

    await eventually(kept)


async def test_the_event_of_a_failure_goes_to_others_and_none_is_made_of_its_own_failure(
    stage: Stage, receiver: Receiver
):
    process = await stage.process()
    # Both see everything, and neither can be reached.
    one, other = [await stage.session(receiver.url, retry_attempts=0) for _ in range(2)]
    receiver.answer = 413

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: all(process.webhooks.stats(each.id).failed == 2 for each in (one, other)))
    await eventually(lambda: nothing_left(stage.broker))
    announced = [record.event.data["session_id"] for record in await system_events(stage.broker) if record.event]
    assert sorted(announced) == sorted([one.id, other.id])
    assert sorted(body["event_type"] for body in bodies(receiver)) == ["deadlettered"] * 2 + ["progress"] * 2


async def test_of_a_batch_that_is_given_up_each_event_has_a_dead_letter(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=4, linger=LONG), retry_attempts=0)
    batches = Batches(receiver)
    # Of an endpoint that is away: no event of the batch is the cause.
    batches.status = [503]

    await stage.publish("agent.run-1.progress", 8)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 4)
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 4)
    assert await reasons(stage.broker, session) == ["exhausted"] * 4
