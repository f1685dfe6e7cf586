"""Tests of router/compaction.py against a real nats-server."""

from __future__ import annotations

import asyncio

from router.broker import Broker
from router.compaction import compact
from router.nats.bucket import Bucket
from router.topology import ALERTS, ENDPOINTS, JOBS, LEASES, RULES, RUNS, SESSIONS
from tests.router.buckets import leave_old_marker
from tests.waiting import unhurried

BUCKETS = (SESSIONS, RULES, ALERTS, LEASES, JOBS, ENDPOINTS, RUNS)


async def test_compaction_removes_old_markers_and_orphans_and_nothing_else(own_nats: str) -> None:
    async with Broker(unhurried(own_nats), "test") as broker:
        bucket = Bucket(broker.connection, SESSIONS)
        await bucket.put("live", b"1")
        await bucket.put("seen.live", b"1")
        await bucket.put("seen.dead", b"1")
        await bucket.put("seen.dying", b"1", 600)
        await asyncio.gather(*(leave_old_marker(broker, bucket, f"old{number}") for number in range(3000)))
        await bucket.put("fresh", b"1")
        await bucket.delete("fresh")
        await leave_old_marker(broker, bucket, "again")
        await bucket.create("again", b"2")

        purged = await compact(broker.connection, SESSIONS, lambda key: key in ("seen.dead", "seen.dying"))

        assert purged == 3001
        assert await bucket.names() == {"live", "seen.live", "seen.dying", "fresh", "again"}
        assert await compact(broker.connection, SESSIONS) == 0
        assert not (await broker.connection.api("CONSUMER.NAMES.KV_SESSIONS"))["consumers"]
