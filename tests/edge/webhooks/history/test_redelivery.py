"""Redelivery finds the events of deliveries, as far as their session may still have them."""

from __future__ import annotations

from edge.webhooks.history.attempt import Part
from edge.webhooks.history.redelivery import Redelivery
from tests.edge.webhooks.stage import Receiver, Stage


async def test_what_is_no_longer_granted_is_not_sent_again(stage: Stage, receiver: Receiver) -> None:
    process = await stage.process()
    (event,) = await stage.publish("job.a.output")
    free = await stage.session(receiver.url, subjects=["job.>"])
    narrowed = await stage.session(receiver.url, granted=["agent.>"])
    redelivery = Redelivery(stage.broker, process.registry, 2)
    part = Part(event, (await stage.broker.state()).last)

    assert await redelivery.record(part, free) is not None
    assert await redelivery.record(part, narrowed) is None
