"""What deleted sessions have left is removed."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.queue.ordering import Head
from router.nats.bucket import Bucket
from router.topology import ENDPOINTS
from tests.edge.webhooks.fanout.fanning import NOWHERE, fanning, jobs, until_stored
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.waiting import eventually


async def test_a_deleted_session_leaves_no_jobs_behind(stage: Stage):
    process = await fanning(stage)
    session = await stage.session(NOWHERE)
    await stage.publish("agent.run-1.progress", 5)
    await until_stored(stage, session.id, 5)

    await process.registry.delete(session.id)

    async def gone() -> bool:
        return await jobs(stage, session.id) == 0

    await eventually(gone)


async def test_what_was_written_of_a_session_after_its_deletion_is_removed(stage: Stage, receiver: Receiver) -> None:
    process = await stage.process(replace(QUICK, fanout=replace(QUICK.fanout, sweep_every=0.2)))
    live = await stage.session(receiver.url)
    endpoints = Bucket(stage.broker.connection, ENDPOINTS)
    await eventually(lambda: process.webhooks.fanout.owner)

    gone = "sess_000000000000000000000000"
    await endpoints.put(f"health.{gone}", msgspec.json.encode(EndpointState()))
    await endpoints.put(f"health.{live.id}", msgspec.json.encode(EndpointState()))
    await endpoints.put(f"head.{gone}.all", msgspec.json.encode(Head("1")))
    await stage.broker.store(f"hook.park.0.{gone}.all", b"?", {})

    async def removed() -> bool:
        keys = await endpoints.keys()
        info = await stage.broker.connection.api("STREAM.INFO.HOOKS", {"subjects_filter": f"hook.park.*.{gone}.*"})
        return keys == [f"health.{live.id}"] and not info["state"].get("subjects")

    await eventually(removed)
