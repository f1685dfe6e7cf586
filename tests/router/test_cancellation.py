"""A cancellation that comes while the work of a task group fails is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.broker import Broker
from router.buckets import Bucket
from router.connection import BrokerSettings
from router.errors import BrokerError
from router.role import Role, RoleSettings
from router.topology import LEASES
from tests.waiting import PATIENCE


async def test_a_role_that_is_cancelled_while_its_work_fails_ends(nats_server: str, tmp_path: Path):
    async with Broker(BrokerSettings(url=nats_server), "test") as broker:
        role = Role(Bucket(broker.connection, LEASES), f"test.{tmp_path.name}", "me", RoleSettings())
        task: list[asyncio.Task[None]] = []
        failed = asyncio.Event()

        async def work() -> None:
            # Cancelled in the moment after the fault, while the group waits for the task that keeps the lease.
            asyncio.get_running_loop().call_soon(task[0].cancel)
            failed.set()
            raise BrokerError("interrupted")

        task.append(asyncio.ensure_future(role.run(work)))
        await asyncio.wait_for(failed.wait(), PATIENCE)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task[0]), PATIENCE)
        assert task[0].cancelled()
