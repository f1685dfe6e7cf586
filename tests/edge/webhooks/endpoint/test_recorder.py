"""Tests of edge/webhooks/endpoint/recorder.py: each attempt is recorded with what follows from it."""

from __future__ import annotations

from aiohttp import web

from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.attempts import Attempts
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_each_attempt_is_noted_with_what_it_came_to_and_what_follows(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    statuses = iter((500, 503, 200))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=next(statuses), text="said")

    receiver.answer = answer
    (event_id,) = await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    async def noted() -> list[Attempt] | None:
        delivery = await Attempts(stage.broker).delivery_of(session.id, event_id)
        found = await Attempts(stage.broker).of(session.id, delivery) if delivery else []
        return found if len(found) == 3 else None

    attempts = await eventually(noted)
    assert [(each.attempt, each.status, each.ok, bool(each.next)) for each in attempts] == [
        (1, 500, False, True),
        (2, 503, False, True),
        (3, 200, True, False),
    ]
    first = attempts[0]
    assert (first.event, first.subject, first.trigger, first.head) == (
        event_id,
        "agent.run-1.progress",
        "auto",
        b"said",
    )
    assert first.destination == receiver.url and first.address == "127.0.0.1"
    assert first.timing is not None and first.timing.total > 0
