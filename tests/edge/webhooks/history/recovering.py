"""Recoveries of one process, and what their receiver got."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from edge.webhooks.history.recovery import Recoveries
from edge.webhooks.history.recovery_job import RecoverySettings
from router.broker import Broker
from router.cluster.role import RoleSettings
from tests.edge.webhooks.stage import Process, Receiver, Stage
from tests.waiting import unhurried

QUICK = RecoverySettings(role=RoleSettings(ttl=1.0, poll=0.05), chunk=10, note_every=0.05, pause=0.05)


def numbers(receiver: Receiver) -> list[int]:
    return [json.loads(post.body)["data"]["n"] for post in receiver.posts]


@contextlib.asynccontextmanager
async def working(stage: Stage, process: Process) -> AsyncIterator[tuple[Recoveries, asyncio.Task[None], Broker]]:
    """Recoveries of one process, with a connection that can be cut."""
    broker = Broker(unhurried(stage.url), "recoveries", stage.topology)
    await broker.open()
    recoveries = Recoveries(broker, process.registry, 2, QUICK)
    task = asyncio.ensure_future(recoveries.run())
    try:
        yield recoveries, task, broker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await broker.close()
