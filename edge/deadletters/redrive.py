"""Redrives: orders to send dead letters again, one for each filter, each worked by one process to its end through any crash.

A redrive is a background job in the bucket JOBS. Whichever process holds the role works them; where it dies, the next one
takes them over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from edge import metrics
from edge.deadletters.notifier import DeadLetterNotifier, report_fullness
from edge.deadletters.query import Search
from edge.deadletters.redrive_job import RedriveJob, RedriveSettings
from edge.deadletters.redrive_run import RedriveRun
from edge.deadletters.redrive_send import Destinations
from edge.errors import Problem
from edge.jobs import ENDED, Jobs
from edge.sessions.registry import Registry
from router.broker import Broker
from router.cluster.departures import Departures
from router.codec import rfc3339
from router.deadletter import DeadLetter
from router.nats.bucket import WriteGuard

ROLE = "role.deadletters"
# Redrives that are not over; more are refused.
MAX_RUNNING = 16


class Redrives:
    """The redrives of a deployment: every process knows the jobs, the one that holds the role works them."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        partitions: int,
        settings: RedriveSettings | None = None,
        guard: WriteGuard | None = None,
        departures: Departures | None = None,
    ) -> None:
        self.settings = settings or RedriveSettings()
        self.broker = broker
        self.registry = registry
        self._destinations = Destinations(broker, registry, partitions, self.settings)
        self.dead = self._destinations.dead
        self.search = Search(self.dead)
        self._jobs: Jobs[RedriveJob, RedriveRun] = Jobs(
            broker.connection, "redrive", ROLE, RedriveJob, self._begin, self.settings, guard, departures
        )
        self._notifier = DeadLetterNotifier(broker, self._added)

    @property
    def jobs(self) -> Mapping[str, RedriveJob]:
        """The jobs of the last week, by their ids."""
        return self._jobs.known

    async def run(self) -> None:
        """Knows the jobs, and works them whenever this process holds the role; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs.run(beside=self._own), name="redrives")
            group.create_task(report_fullness(self.dead), name="dead letters' fullness")

    # For the API

    async def start(self, job: RedriveJob) -> RedriveJob:
        """Stores a job; the process that holds the role begins it. Raises Problem `too_many_redrives`, or BrokerError."""
        if sum(each.state not in ENDED for each in await self.all()) >= MAX_RUNNING:
            raise Problem("too_many_redrives", f"{MAX_RUNNING} are not over yet; wait for one, or cancel it")
        return await self._jobs.create(job)

    async def all(self) -> list[RedriveJob]:
        """Every job of the last week. Raises Timeout where a process that has just started cannot read them."""
        return await self._jobs.all()

    async def find(self, id: str) -> RedriveJob:
        """Gives a job, from the bucket where this process has not received it yet. Raises Problem 404."""
        job = await self._jobs.find(id)
        if job is None:
            raise Problem("redrive_not_found", f"no redrive {id[:60]!r}; they are kept for a week")
        return job

    async def cancel(self, id: str) -> RedriveJob:
        """Cancels a job; what was sent stays sent. Raises Problem where it is unknown or over."""
        job = await self.find(id)
        if job.state in ENDED:
            raise Problem("redrive_ended", f"it is {job.state} since {rfc3339(job.ended)}")
        await self._jobs.cancel(id)
        return job

    async def blocked(self, session_id: str) -> str | None:
        """Why a webhook session takes nothing right now: `endpoint_disabled`, `breaker_open`, or None. Raises BrokerError."""
        return await self._destinations.blocked(session_id)

    # The role

    def _added(self, letter: DeadLetter) -> None:
        for run in self._jobs.running.values():
            run.added(letter)

    async def _own(self) -> None:
        metrics.deadletters_owner.set(1)
        try:
            await self._notifier.run()
        finally:
            metrics.deadletters_owner.set(0)

    def _begin(self, job: RedriveJob, revision: int) -> RedriveRun:
        # A copy of its own: what the watch reports of it must not change it under the work.
        copy = msgspec.structs.replace(job, reasons=dict(job.reasons))
        return RedriveRun(self._destinations, self.search, self._jobs, copy, revision)
