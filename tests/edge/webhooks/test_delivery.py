from __future__ import annotations

from tests.edge.webhooks.observing import bodies
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_every_event_of_a_burst_arrives_once(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    ids = await stage.publish("agent.run-1.progress", 100)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 100)
    assert sorted(body["id"] for body in bodies(receiver)) == sorted(ids)
    assert receiver.most_under_way <= 8
