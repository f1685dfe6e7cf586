"""Tests of edge/webhooks/queue/redriven.py: the dead letters of a redriven delivery are removed once it is over."""

from __future__ import annotations

from msgspec.structs import replace

from edge.webhooks.queue.job import Job
from edge.webhooks.queue.redriven import RedrivenDeadLetters
from router.deadletter import Origin, webhook_subject
from router.deadletters import DeadLetters
from router.subject import STORED
from router.topology import EVENTS
from tests.edge.webhooks.queue.test_ordering import job
from tests.edge.webhooks.stage import Stage


async def add(stage: Stage, of: Job) -> None:
    await DeadLetters(stage.broker).add(
        webhook_subject(of.session),
        of.payload,
        origin=Origin(EVENTS, of.sequence, STORED + of.subject),
        reason="exhausted",
        detail="",
        attempts=1,
        source=of.session,
        id=of.deadletter_id,
    )


async def test_dead_letters_are_found_by_the_place_of_their_events(stage: Stage):
    for n in (1, 2, 3):
        await add(stage, job(n))

    found = await RedrivenDeadLetters(stage.broker).find("sess_1", {1, 3, 9})

    assert found == {1: (1,), 3: (3,)}
    assert await RedrivenDeadLetters(stage.broker).find("sess_2", {1, 3}) == {}


async def test_only_the_dead_letters_of_the_delivery_itself_are_removed(stage: Stage):
    mine, other = job(1), job(2)
    await add(stage, mine)
    await add(stage, other)

    # As after the stream was recreated: the second place is another delivery's now, and the third does not exist.
    await RedrivenDeadLetters(stage.broker).remove(replace(mine, letters=(1, 2, 3)))

    dead = DeadLetters(stage.broker)
    left = await dead.read()
    assert [each.event_id for each in left.deadletters] == [other.event_id]
