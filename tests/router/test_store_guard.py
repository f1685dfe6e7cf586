"""A write ends as soon as its stream is known to take none; other cancellations are left as they are; slow writes are reported."""

from __future__ import annotations

import asyncio

import pytest

from router import store_guard
from router.errors import StoreFailed
from router.store_guard import CallbackGuard, WriteGuards
from router.store_trouble import STREAM_MISSING, Trouble
from tests.waiting import eventually, in_time

MISSING = Trouble("EVENTS", STREAM_MISSING, "it is not there")


def only_events(stream: str) -> Trouble | None:
    return MISSING if stream == "EVENTS" else None


async def write(guards: WriteGuards, stream: str, work: asyncio.Future[str]) -> str:
    with guards.guard(stream):
        return await work


async def begin(guards: WriteGuards, stream: str) -> tuple[asyncio.Task[str], asyncio.Future[str]]:
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(write(guards, stream, work))
    await asyncio.sleep(0)
    return task, work


async def test_writes_to_a_stream_that_takes_none_fail_and_others_go_on() -> None:
    guards = WriteGuards(lambda: None)
    doomed, _ = await begin(guards, "EVENTS")
    other, work = await begin(guards, "HOOKS")

    guards.fail(only_events)
    guards.fail(only_events)

    with pytest.raises(StoreFailed) as failed:
        await in_time(doomed)
    assert (failed.value.code, failed.value.stream) == (STREAM_MISSING, "EVENTS")
    assert doomed.cancelling() == 0
    work.set_result("stored")
    assert await other == "stored"


async def test_a_write_that_is_cancelled_by_its_caller_too_stays_cancelled() -> None:
    guards = WriteGuards(lambda: None)
    doomed, _ = await begin(guards, "EVENTS")

    guards.fail(only_events)
    doomed.cancel()

    with pytest.raises(asyncio.CancelledError):
        await doomed


async def test_a_fault_of_the_write_itself_is_raised_as_it_is() -> None:
    guards = WriteGuards(lambda: None)
    doomed, work = await begin(guards, "EVENTS")

    work.set_exception(ValueError("of its own"))
    with pytest.raises(ValueError, match="of its own"):
        await doomed


async def test_each_slow_write_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_guard, "SLOW_SECONDS", 0.01)
    reports: list[int] = []
    guards = WriteGuards(lambda: reports.append(len(reports)))

    first, work = await begin(guards, "EVENTS")
    await eventually(lambda: len(reports) == 1)
    second, other = await begin(guards, "EVENTS")
    await eventually(lambda: len(reports) == 2)
    work.set_result("stored")
    other.set_result("stored")
    await asyncio.gather(first, second)

    assert reports == [0, 1]


async def test_a_write_that_no_task_waits_for_fails_once_and_not_after_it_has_ended() -> None:
    failed: list[str] = []
    guards = WriteGuards(lambda: None)
    CallbackGuard(guards, "EVENTS", lambda: failed.append("first"))
    CallbackGuard(guards, "HOOKS", lambda: failed.append("other"))
    CallbackGuard(guards, "EVENTS", lambda: failed.append("ended")).leave()

    guards.fail(only_events)
    guards.fail(only_events)

    assert failed == ["first"]


async def test_what_fails_may_write_again_at_once() -> None:
    guards = WriteGuards(lambda: None)
    CallbackGuard(guards, "EVENTS", lambda: again.append(CallbackGuard(guards, "EVENTS", lambda: again.append(None))))
    again: list[CallbackGuard | None] = []

    guards.fail(only_events)

    assert len(again) == 1 and again[0] is not None


async def test_a_slow_write_that_no_task_waits_for_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_guard, "SLOW_SECONDS", 0.01)
    reports: list[bool] = []
    guards = WriteGuards(lambda: reports.append(True))

    guard = CallbackGuard(guards, "EVENTS", lambda: None)
    await eventually(lambda: reports)
    guard.leave()
