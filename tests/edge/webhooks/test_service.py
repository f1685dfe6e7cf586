"""Tests of edge/webhooks/service.py: what it says of a session's partition."""

from __future__ import annotations

from edge.webhooks.queue.job import partition_of
from tests.edge.webhooks.stage import QUICK, Stage
from tests.waiting import eventually


async def test_the_health_of_a_webhook_says_whether_its_partition_is_worked(stage: Stage):
    process = await stage.process()
    session = await stage.session("http://127.0.0.1:9/")
    partition = partition_of(session.id, QUICK.partitions)
    await eventually(lambda: process.webhooks.health(session.id)["partition_owned"])
    assert process.webhooks.health(session.id)["partition"] == partition

    # Owned by a process that does not live, of which nobody has learnt yet that it is free.
    process.webhooks.partitions.ownership.wrote(partition, "gone", 1 << 40)

    assert not process.webhooks.health(session.id)["partition_owned"]
    # What was believed is read again.
    await process.webhooks.partitions.reconcile()
    await eventually(lambda: process.webhooks.health(session.id)["partition_owned"])
