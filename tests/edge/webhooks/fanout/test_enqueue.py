"""Jobs are stored, or their sessions wait."""

from __future__ import annotations

import contextlib

from router.errors import Refused
from router.topology import HOOKS
from tests.edge.webhooks.fanout.fanning import KIB, numbers
from tests.edge.webhooks.observing import PATIENT
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_a_refusal_of_hooks_stops_nobody_else(stage: Stage, receiver: Receiver):
    """Where somebody else fills HOOKS, the accounts are wrong for a moment; who is refused then waits on its own."""
    await stage.reshape(hooks_max_bytes=512 * KIB)
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url)
    await eventually(lambda: process.webhooks.fanout.owner)
    filled = 0
    for size in (8000, 10):
        with contextlib.suppress(Refused):
            while True:
                subject = f"hook.park.0.sess_none.k{filled}"
                await stage.broker.store(subject, b"?" * size, {"Nats-Msg-Id": f"fill-{filled}"})
                filled += 1

    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: process.webhooks.fanout.position >= 5)
    await stage.broker.connection.api(f"STREAM.PURGE.{HOOKS}", {"filter": "hook.park.0.sess_none.*"})

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    assert sorted(numbers(receiver)) == list(range(5))
    assert filled
