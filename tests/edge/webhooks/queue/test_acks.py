"""Tests of edge/webhooks/queue/acks.py: settled jobs are acknowledged and deleted in batches."""

from __future__ import annotations

import asyncio

from edge.webhooks.queue.acks import AckBatcher
from router.nats.consumer import Consumer, Message
from router.nats.publisher import Publish, Publisher
from router.nats.stream import Ack
from router.topology import HOOKS
from tests.edge.webhooks.stage import Stage
from tests.waiting import eventually


async def test_what_is_settled_is_taken_out_of_the_stream(stage: Stage):
    connection = stage.broker.connection
    publisher = Publisher(connection)
    acks = AckBatcher(publisher)
    heard: list[Message] = []
    consumer = Consumer(connection, HOOKS, {"name": "test", "filter_subject": "hook.q.0.*"}, heard.append)
    working = [asyncio.ensure_future(each.run()) for each in (acks, consumer)]
    parked = Publish("hook.park.0.sess_1.all", b"", {"Nats-Msg-Id": "parked"})
    answers = await publisher.send(
        [*(Publish("hook.q.0.sess_1", b"%d" % n, {"Nats-Msg-Id": f"sess_1.{n}"}) for n in range(5)), parked]
    )
    await eventually(lambda: len(heard) == 5)

    for message in heard[:4]:
        acks.acknowledge(message)
    assert isinstance(answers[5], Ack)
    acks.remove(answers[5].sequence)
    acks.remove(answers[5].sequence + 1)  # there is none: harmless
    await acks.flushed()

    async def one_left() -> bool:
        return bool((await stage.broker.stream(HOOKS).state())["messages"] == 1)

    await eventually(one_left)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    await publisher.close()
