"""Durable background jobs: known to every process, worked by one, taken over from where they had come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from edge.jobs import BackgroundJob, Cancelled, JobFailed, JobRun, Jobs, new_id
from router.broker import Broker
from router.clock import wall
from router.cluster.role import RoleSettings
from router.errors import Timeout
from tests.waiting import eventually


@dataclass(frozen=True)
class Quick:
    """Settings of jobs, with leases that are taken over at once."""

    role: RoleSettings = field(default_factory=lambda: RoleSettings(ttl=30.0, poll=0.05))
    concurrency: int = 2
    pause: float = 0.05
    keep: float = 600.0


class Steps(BackgroundJob, kw_only=True, omit_defaults=True):
    """Takes so many steps; at one of them something may happen."""

    steps: int
    fails_at: int | None = None


class Run(JobRun[Steps]):
    """Takes a step whenever a process lets it."""

    loop = "redrive"

    def __init__(self, process: Process, jobs: Jobs[Steps, Run], job: Steps, revision: int) -> None:
        super().__init__(jobs, job, revision)
        self.process = process

    async def run(self) -> None:
        while self.job.after < self.job.steps:
            while not self.process.allowed:
                await self.pause()
            self.process.allowed -= 1
            if self.job.after + 1 == self.job.fails_at:
                raise JobFailed("it was told to fail")
            self.job.after += 1
            self.process.taken.append((self.job.id, self.job.after))
            await self.note()
            await self.pause(0.0)


class Process:
    """One process that knows the jobs, and may work them."""

    def __init__(self, broker: Broker, kind: str) -> None:
        self.allowed = 0
        self.taken: list[tuple[str, int]] = []
        self.jobs: Jobs[Steps, Run] = Jobs(broker.connection, kind, f"role.{kind}", Steps, self._begin, Quick())

    def _begin(self, job: Steps, revision: int) -> Run:
        return Run(self, self.jobs, msgspec.structs.replace(job), revision)

    async def make(self, steps: int, fails_at: int | None = None) -> str:
        job = Steps(id=new_id(), created=wall.now_ns(), steps=steps, fails_at=fails_at)
        return (await self.jobs.create(job)).id

    def state(self, id: str) -> str:
        return self.jobs.known[id].state if id in self.jobs.known else ""


@asynccontextmanager
async def working(process: Process) -> AsyncIterator[Process]:
    task = asyncio.ensure_future(process.jobs.run())
    try:
        await eventually(process.jobs._read.is_set)
        yield process
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_job_is_worked_to_its_end_and_kept(broker: Broker, entity: str) -> None:
    async with working(Process(broker, entity)) as process:
        process.allowed = 3
        id = await process.make(3)

        await eventually(lambda: process.state(id) == "done")

        job = await process.jobs.find(id)
        assert job is not None and (job.after, job.ended > 0, job.error) == (3, True, "")
        assert process.taken == [(id, 1), (id, 2), (id, 3)]
        assert not process.jobs.running


async def test_the_next_process_goes_on_where_the_last_one_had_come(broker: Broker, entity: str) -> None:
    first, second = Process(broker, entity), Process(broker, entity)
    async with working(second):
        async with working(first):
            id = await second.make(4)
            first.allowed = second.allowed = 2
            await eventually(lambda: len(first.taken) + len(second.taken) >= 2)
        second.allowed = 4

        await eventually(lambda: second.state(id) == "done")

    assert sorted(first.taken + second.taken) == [(id, step) for step in range(1, 5)]


async def test_a_job_is_cancelled_by_any_process(broker: Broker, entity: str) -> None:
    owner, other = Process(broker, entity), Process(broker, entity)
    async with working(owner):
        id = await owner.make(10)
        await eventually(lambda: id in owner.jobs.running)

        await other.jobs.cancel(id)

        await eventually(lambda: owner.state(id) == "cancelled")
    assert owner.taken == []


async def test_a_job_that_fails_says_why_and_others_go_on(broker: Broker, entity: str) -> None:
    async with working(Process(broker, entity)) as process:
        process.allowed = 10
        failing, good = await process.make(5, fails_at=2), await process.make(2)

        await eventually(lambda: process.state(failing) == "failed" and process.state(good) == "done")

        assert process.jobs.known[failing].error == "it was told to fail"
        assert process.jobs.known[failing].after == 1


async def test_a_process_that_has_not_read_the_jobs_says_so_and_finds_one_by_its_id(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.nats.bucket.READ_SECONDS", 0.01)
    maker, stranger = Process(broker, entity), Process(broker, entity)
    id = await maker.make(1)

    with pytest.raises(Timeout):
        await stranger.jobs.all()
    found = await stranger.jobs.find(id)

    assert found is not None and found.steps == 1
    assert await stranger.jobs.find("0123456789abcdef") is None
    assert await stranger.jobs.find("no id at all") is None


async def test_a_run_that_was_cancelled_does_not_sleep_on(broker: Broker, entity: str) -> None:
    process = Process(broker, entity)
    run = Run(process, process.jobs, Steps(id=new_id(), created=1, steps=1), 0)
    run.cancel()

    await run.sleep(3600.0)

    with pytest.raises(Cancelled):
        await run.pause(3600.0)
