"""Durable background jobs: kept in the bucket JOBS, known to every process, and worked by the one that holds a role.

A job says what is to be done and how far it has come. Where the process that works it dies, the next holder of the role
continues from there; so each step of a job must be idempotent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from edge.metrics import record_faults
from router.bucket_cache import BucketCache
from router.clock import wall
from router.cluster.departures import Departures
from router.cluster.role import Role, RoleSettings
from router.errors import BrokerError, Conflict, Refused
from router.nats.bucket import Bucket, Entry, WriteGuard, read_through
from router.nats.connection import Connection
from router.stored import decoder
from router.topology import JOBS, LEASES

log = logging.getLogger(__name__)

ENDED = frozenset({"done", "failed", "cancelled"})

_ID = re.compile(r"[0-9a-f]{12,32}\Z")


class BackgroundJob(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One order, and how far it has come: up to `after`. Times are ns since the epoch."""

    id: str
    created: int
    after: int = 0
    state: str = "running"
    sent: int = 0
    skipped: int = 0
    updated: int = 0
    ended: int = 0
    error: str = ""


def new_id() -> str:
    """An id for a job that is made now; ids sort by time."""
    return f"{wall.now_ns() // 1_000_000:011x}{secrets.token_hex(3)}"


class JobSettings(Protocol):
    """How jobs are worked. Times in seconds."""

    @property
    def role(self) -> RoleSettings:
        """The role of the process that works them."""

    @property
    def concurrency(self) -> int:
        """Jobs that are worked at the same time; the others wait."""

    @property
    def pause(self) -> float:
        """The wait between two tries of what cannot be done right now."""

    @property
    def keep(self) -> float:
        """How long a job is kept."""


J = TypeVar("J", bound=BackgroundJob)
R = TypeVar("R", bound="JobRun[Any]")
T = TypeVar("T")


class Jobs(Generic[J, R]):
    """The jobs of one kind in a deployment."""

    def __init__(
        self,
        connection: Connection,
        kind: str,
        role: str,
        stored: type[J],
        begin: Callable[[J, int], R],
        settings: JobSettings,
        guard: WriteGuard | None = None,
        departures: Departures | None = None,
    ) -> None:
        """`begin(job, revision)` makes the work on a job, with a copy of it: what the watch reports must not change it."""
        self.kind = kind
        self.settings = settings
        self.running: dict[str, R] = {}
        self._begin_run = begin
        self._decode = decoder(stored, JOBS)
        self._mirror: BucketCache[str, J] = BucketCache()
        self._bucket = Bucket(connection, JOBS, guard)
        self._role = Role(Bucket(connection, LEASES), role, secrets.token_hex(8), settings.role, departures=departures)
        self._cancelled: set[str] = set()
        # Set once all jobs have been read.
        self._read = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._room = asyncio.Semaphore(settings.concurrency)

    @property
    def known(self) -> Mapping[str, J]:
        """The jobs that are kept, by their ids."""
        return self._mirror.values

    async def run(self, beside: Callable[[], Awaitable[None]] | None = None) -> None:
        """Knows the jobs, and works them whenever this process holds the role; until cancelled.

        `beside` runs for as long as the role is held.
        """

        async def own() -> None:
            await self._own(beside)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name=f"{self.kind} jobs")
            group.create_task(self._role.run(own), name=f"{self.kind} role")

    # For the API

    async def all(self) -> list[J]:
        """Every job that is kept. Raises Timeout where a process that has just started cannot read them."""
        await read_through(self._read, JOBS)
        return list(self.known.values())

    async def create(self, job: J) -> J:
        """Stores a job; the process that holds the role starts it. Raises BrokerError."""
        value = msgspec.json.encode(job)
        revision = await self._bucket.create(self._key(job.id), value, self.settings.keep)
        self._received(Entry(self._key(job.id), value, revision), True)
        return job

    async def find(self, id: str) -> J | None:
        """Gives a job, from the bucket where this process has not received it yet; None for one that is not kept."""
        job = self.known.get(id)
        if job is None and _ID.match(id) and (entry := await self._bucket.get(self._key(id))) is not None:
            self._received(entry, True)
            job = self.known.get(id)
        return job

    async def cancel(self, id: str) -> None:
        """Lets a job end before its next step, in any process. Raises BrokerError."""
        await self._bucket.put(f"{self.kind}.cancel.{id}", b"1", self.settings.keep)

    # For the work

    async def note(self, job: J, revision: int) -> int:
        """Saves how far a job has come. Raises Conflict where another process did so meanwhile."""
        job.updated = wall.now_ns()
        value = msgspec.json.encode(job)
        while True:
            try:
                written = await self._write(self._key(job.id), value, revision)
                break
            except Refused:
                raise
            except BrokerError as fault:
                log.debug(
                    "a background job did not save its progress; it tries again",
                    extra={"kind": self.kind, "fault": str(fault)},
                )
                await asyncio.sleep(self.settings.pause)
        self._received(Entry(self._key(job.id), value, written), True)
        return written

    async def _write(self, key: str, value: bytes, revision: int) -> int:
        try:
            return await self._bucket.update(key, value, revision, self.settings.keep)
        except Conflict:
            # A save whose answer was lost is our own.
            entry = await self._bucket.get(key)
            if entry is None or entry.value != value:
                raise
            return entry.revision

    def _key(self, id: str) -> str:
        return f"{self.kind}.job.{id}"

    # The watch

    async def _watch(self) -> None:
        while True:
            try:
                await self._bucket.watch(self._received, f"{self.kind}.>", self._read.set, self._renewed)
            except BrokerError as fault:
                log.debug(
                    "background jobs cannot be watched; the watch is tried again",
                    extra={"kind": self.kind, "fault": str(fault)},
                )
                await asyncio.sleep(self.settings.pause)

    def _received(self, entry: Entry, _ready: bool) -> None:
        what, _, id = entry.key.removeprefix(f"{self.kind}.").partition(".")
        if what == "cancel":
            if entry.value is None:
                self._cancelled.discard(id)
                return
            self._cancelled.add(id)
            if run := self.running.get(id):
                run.cancel()
        elif what == "job":
            self._received_job(id, entry)

    def _received_job(self, id: str, entry: Entry) -> None:
        if entry.value is None:
            if self._mirror.drop(id, entry.revision):
                self._cancelled.discard(id)
            return
        if self._mirror.revision(id) >= entry.revision:
            return
        job = self._decode(entry.key, entry.value)
        if job is not None and self._mirror.put(id, job, entry.revision):
            self._begin(id)

    def _renewed(self) -> None:
        self._mirror.clear()
        self._cancelled.clear()

    # The role

    async def _own(self, beside: Callable[[], Awaitable[None]] | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for id in list(self.known):
                    self._begin(id)
                if beside is not None:
                    await beside()
                else:
                    # Until the role is lost, or the process goes.
                    await asyncio.Event().wait()
            finally:
                self._tasks = None
                self.running.clear()

    def _begin(self, id: str) -> None:
        job = self.known[id]
        if self._tasks is None or job.state in ENDED or id in self.running:
            return
        run = self._begin_run(job, self._mirror.revision(id))
        if id in self._cancelled:
            run.cancel()
        self.running[id] = run
        self._tasks.create_task(self._work(run), name=f"{self.kind} {id}")

    async def _work(self, run: R) -> None:
        about = {"kind": self.kind, "job": run.job.id}
        try:
            async with self._room:
                await run.work()
        except Conflict:
            # Another process works it, which must have the role: so this one has lost it and does not know it yet.
            log.warning("another process works this background job; this one stops", extra=about)
        except BrokerError as fault:
            log.error(
                "a background job cannot save its progress; it stops until another process takes the role",
                extra={**about, "fault": str(fault)},
            )
        finally:
            if self.running.get(run.job.id) is run:
                del self.running[run.job.id]


class Cancelled(Exception):
    """somebody cancelled the job"""


class JobFailed(Exception):
    """the job cannot go on; the API shows the text"""


class JobRun(ABC, Generic[J]):
    """The work on one job."""

    # The loop that a fault of ours in it is counted under.
    loop: ClassVar[str]
    # Whether a job that waits for NATS ends when it is cancelled.
    ends_while_waiting: ClassVar[bool] = True

    def __init__(self, jobs: Jobs[J, Any], job: J, revision: int) -> None:
        self.job = job
        self.noted = 0.0
        self._jobs = jobs
        self._revision = revision
        self._off = asyncio.Event()

    def cancel(self) -> None:
        """Ends the work before its next step."""
        self._off.set()

    async def work(self) -> None:
        """Works the job to its end. Raises Conflict where another process does it, or BrokerError."""
        job = self.job
        try:
            await self.run()
            job.state = "done"
        except asyncio.CancelledError:
            await self.interrupted()
            raise
        except Cancelled:
            job.state = "cancelled"
        except JobFailed as failed:
            job.state, job.error = "failed", str(failed)
        except Refused as refusal:
            if isinstance(refusal, Conflict):
                raise
            job.state, job.error = "failed", refusal.description
        except BrokerError:
            raise
        except Exception:
            # A fault of ours in one job must not take the role, and with it the process, from all others.
            log.exception(
                "a background job failed by an internal fault", extra={"kind": self._jobs.kind, "job": job.id}
            )
            record_faults.labels(self.loop).inc()
            job.state, job.error = "failed", "an internal fault; the log of the edge says more"
        job.ended = wall.now_ns()
        await self.note()
        self.ended()
        log.info(
            "a background job ended",
            extra={"kind": self._jobs.kind, "job": job.id, "state": job.state, "sent": job.sent},
        )

    @abstractmethod
    async def run(self) -> None:
        """Does the work. Raises Cancelled, JobFailed or BrokerError."""

    async def interrupted(self) -> None:
        """Cleans up where this process stops, within a second."""

    def ended(self) -> None:
        """Counts a job that is over."""

    # For the subclasses

    def check(self) -> None:
        """Raises Cancelled where the job was cancelled."""
        if self._off.is_set():
            raise Cancelled

    async def sleep(self, seconds: float) -> None:
        """Waits, until the job is cancelled at the latest."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._off.wait()
        except TimeoutError:
            pass

    async def pause(self, seconds: float | None = None) -> None:
        """Waits, as long as the settings say where nothing else is said. Raises Cancelled."""
        await self.sleep(self._jobs.settings.pause if seconds is None else seconds)
        self.check()

    async def retry(self, ask: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Calls `ask` until NATS answers. Raises Refused, and Cancelled where `ends_while_waiting`."""
        while True:
            try:
                return await ask(*arguments)
            except Refused:
                raise
            except BrokerError as fault:
                log.debug(
                    "NATS does not answer a background job; it tries again",
                    extra={"kind": self._jobs.kind, "job": self.job.id, "fault": str(fault)},
                )
                if self.ends_while_waiting:
                    await self.pause()
                else:
                    await asyncio.sleep(self._jobs.settings.pause)

    async def note(self) -> None:
        """Saves how far the job has come. Raises Conflict, Refused."""
        self._revision = await self._jobs.note(self.job, self._revision)
        self.noted = asyncio.get_running_loop().time()
