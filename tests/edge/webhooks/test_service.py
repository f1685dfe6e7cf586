"""Tests of edge/webhooks/service.py: what it says of a session's partition, and who learns of a change."""

from __future__ import annotations

import secrets
import time

import pytest

from edge.sessions.registry import Session
from edge.sessions.spec import SessionSpec
from edge.webhooks.queue.job import partition_of
from edge.webhooks.worker.worker import PartitionWorker
from router.cursor import Cursor
from router.topology import HOOKS, RETRIES
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


async def test_only_the_worker_of_a_session_s_partition_is_told_of_its_change(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    told: list[tuple[PartitionWorker, str]] = []
    changed = PartitionWorker.changed

    def spy(worker: PartitionWorker, session_id: str, session: Session | None) -> None:
        told.append((worker, session_id))
        changed(worker, session_id, session)

    process = await stage.process()
    await stage.settled()
    monkeypatch.setattr(PartitionWorker, "changed", spy)
    state = await stage.broker.state()
    reader = SessionSpec(
        id=f"sess_{secrets.token_hex(12)}",
        delivery_method="websocket",
        created=time.time_ns(),
        start=str(Cursor(state.epoch, state.last)),
    )
    await process.registry.create(reader)
    session = await stage.session("http://127.0.0.1:9/")
    await eventually(lambda: session.id in process.registry.sessions)

    partition = partition_of(session.id, QUICK.partitions)
    assert told == [(process.webhooks.partitions.terms[partition], session.id)]


async def test_pending_jobs_are_asked_for_by_partition_only_where_a_stream_holds_any(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    process = await stage.process()
    await stage.settled()
    for stream, subjects in ((HOOKS, "hook.>"), (RETRIES, "retry.>")):
        await stage.broker.stream(stream).purge(subjects)
    asked: list[PartitionWorker] = []

    async def count(worker: PartitionWorker) -> tuple[int, int]:
        asked.append(worker)
        return 1, 2

    monkeypatch.setattr(PartitionWorker, "count_pending", count)
    assert await process.webhooks._count_pending() == (0, 0)
    assert not asked

    # One that is parked for an endpoint that nobody has: no consumer takes it.
    await stage.broker.store("hook.park.0.sess_nobody.all", b"{}", {"Nats-Msg-Id": secrets.token_hex(8)})
    workers = len(process.webhooks._workers())
    assert workers and await process.webhooks._count_pending() == (workers, 2 * workers)
