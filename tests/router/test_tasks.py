"""Work that may be cancelled at any moment: its faults reach the caller, and a cancellation always ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from router.broker import Broker
from router.cluster.role import Role, RoleSettings
from router.errors import BrokerError
from router.nats.bucket import Bucket
from router.tasks import keeping_cancellation, run_cancellable
from router.topology import LEASES
from tests.waiting import eventually, in_time, unhurried


async def fail(fault: Exception) -> None:
    await asyncio.sleep(0)
    raise fault


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def fail_in_a_group(beside: Coroutine[Any, Any, None], ending: asyncio.Event | None = None) -> None:
    """Fails as work does that has tasks of its own; `ending` is set once its group waits for the others."""

    async def slow() -> None:
        try:
            await beside
        finally:
            if ending is not None:
                ending.set()
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(slow())
        await asyncio.sleep(0)
        group.create_task(fail(BrokerError("interrupted")))


async def test_work_returns_its_result_and_its_companion_is_cancelled():
    ended = asyncio.Event()

    async def companion() -> None:
        try:
            await wait_for_ever()
        finally:
            ended.set()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await run_cancellable(work(), name="test", companion=companion()) == 7
    assert ended.is_set()


async def test_a_companion_that_returns_leaves_the_work_alone():
    async def work() -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return 7

    assert await run_cancellable(work(), name="test", companion=asyncio.sleep(0)) == 7


@pytest.mark.parametrize("who", ["work", "companion"])
async def test_who_fails_ends_the_other_and_the_fault_is_raised_as_it_is(who: str):
    ended = asyncio.Event()

    async def other() -> None:
        try:
            await wait_for_ever()
        finally:
            ended.set()
            raise KeyError("a later fault")

    failing = fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        if who == "work":
            await run_cancellable(failing, name="test", companion=other())
        else:
            await run_cancellable(other(), name="test", companion=failing)
    assert ended.is_set()


async def test_a_cancellation_ends_both_and_is_raised_whatever_they_raise():
    begun, ended = asyncio.Event(), []

    async def stubborn(fault: Exception) -> None:
        begun.set()
        try:
            await wait_for_ever()
        finally:
            await asyncio.sleep(0.01)
            ended.append(fault)
            raise fault

    task = asyncio.ensure_future(
        run_cancellable(stubborn(KeyError("one")), name="test", companion=stubborn(BrokerError("other")))
    )
    await in_time(begun.wait())
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # whoever waits longer than it likes
    with pytest.raises(asyncio.CancelledError):
        await in_time(asyncio.shield(task))
    assert len(ended) == 2


async def test_a_cancellation_is_kept_that_comes_while_a_group_within_the_work_fails():
    ending = asyncio.Event()
    task = asyncio.ensure_future(run_cancellable(fail_in_a_group(wait_for_ever(), ending), name="test"))
    await in_time(ending.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await in_time(asyncio.shield(task))


async def test_a_role_that_is_cancelled_while_its_work_fails_ends(nats_server: str, tmp_path: Path):
    async with Broker(unhurried(nats_server), "test") as broker:
        role = Role(Bucket(broker.connection, LEASES), f"test.{tmp_path.name}", "me", RoleSettings())
        task: list[asyncio.Task[None]] = []
        failed = asyncio.Event()

        async def work() -> None:
            # Cancelled in the moment after the fault, while the task is waited for that keeps the lease.
            asyncio.get_running_loop().call_soon(task[0].cancel)
            failed.set()
            raise BrokerError("interrupted")

        task.append(asyncio.ensure_future(role.run(work)))
        await in_time(failed.wait())

        with pytest.raises(asyncio.CancelledError):
            await in_time(asyncio.shield(task[0]))
        assert task[0].cancelled()


async def test_a_role_begins_again_each_time_its_work_fails_in_a_group(nats_server: str, tmp_path: Path):
    """Such a group leaves a request to cancel counted at its task (`Task.cancelling()`), which is none of anybody's."""
    async with Broker(unhurried(nats_server), "test") as broker:
        role = Role(Bucket(broker.connection, LEASES), f"test.{tmp_path.name}", "me", RoleSettings(poll=0.05))
        turns = 0

        async def work() -> None:
            nonlocal turns
            turns += 1
            await fail_in_a_group(wait_for_ever())

        task = asyncio.ensure_future(role.run(work))
        await eventually(lambda: turns >= 3 or task.done())
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


@pytest.mark.parametrize("outcome", ["nothing", "a fault"])
async def test_a_cancellation_that_a_library_catches_is_raised_all_the_same(outcome: str) -> None:
    async def library() -> None:
        try:
            await wait_for_ever()
        except asyncio.CancelledError:
            if outcome == "a fault":
                raise ConnectionRefusedError from None

    async def kept() -> None:
        with keeping_cancellation():
            await library()

    task = asyncio.ensure_future(kept())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()


async def test_where_nobody_cancels_an_outcome_and_a_fault_are_as_they_were() -> None:
    with keeping_cancellation():
        await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError), keeping_cancellation():
        await fail(ConnectionRefusedError())
