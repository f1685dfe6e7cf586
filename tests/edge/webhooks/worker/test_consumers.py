"""Tests of edge/webhooks/worker/consumers.py: an ownership has consumers of its own."""

from __future__ import annotations

import asyncio

from tests.edge.webhooks.observing import NARROW, Ledger, firsts, nothing_left
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_the_order_outlives_a_lost_connection(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(NARROW)
    await stage.session(receiver.url, mode="fifo", retry_attempts=20)
    ledger = Ledger(receiver)
    ledger.slow = 0.002
    publishing = asyncio.ensure_future(stage.publish("agent.run-1.progress", 150))

    for turn in range(3):
        await eventually(lambda turn=turn: len(ledger.taken) > 30 * (turn + 1))
        await process.broker.connection._wire.force_reconnect()
    await publishing

    await eventually(lambda: len(firsts(ledger.taken)) == 150)
    assert ledger.taken == list(range(150))
    await eventually(lambda: nothing_left(stage.broker))
