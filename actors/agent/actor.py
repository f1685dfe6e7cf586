"""Folds what agents, jobs and threads report into the latest state of each run, for readers that join late.

A run ends once. Whatever comes after its completion changes nothing, until a workflow_start begins it anew. A run whose
producer is gone without a word is ended here, so that nobody watches a bar that will never move again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.agent.metrics import IGNORED_BY, KNOWN, VANISHED
from actors.agent.producers import LeaseWatch, NatsProducers, Producers
from actors.agent.record import STOPPING, Change, RunRecord
from actors.agent.runs import Runs
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from actors.system.runtime import BrokerRuntime
from router.catalogue import RUN_DOMAINS, ending, terminal_types
from router.clock import wall
from router.errors import BadSubject, NoResponders, Timeout
from router.event import Event, new_id
from router.subject import Subject

log = logging.getLogger(__name__)

# How often leases are checked; a lease lives for ten seconds.
VIGIL_SECONDS = 1.0
# 200 states a tick, 800 a second: states of runs must not crowd out the runs' own events.
STATES_A_TICK = 200
# How long a rebuilt run waits for the lease of its producer, where that had been seen before.
EXPECTED_TTL = 10.0

GONE = "the producer vanished"


@dataclass(frozen=True)
class AgentSettings:
    """How long runs are kept and waited for. Times in seconds."""

    interval: float = 0.25  # between two states of one run that goes on
    keep_over: float = 600.0  # a run that is over, in memory; its state stays stored
    silent_after: float = 86400.0  # a run without a lease that says nothing is over
    most_runs: int = 10_000


class Agent(Actor):
    """Keeps the latest state of every run, job and thread."""

    name = "agent"
    subjects = tuple(f"{domain}.*.*" for domain in RUN_DOMAINS)
    every = 0.25

    def __init__(self, settings: AgentSettings = AgentSettings(), producers: Producers | None = None) -> None:
        """`producers` are those of the runtime where none are given."""
        self.settings = settings
        self.known = Runs(settings.most_runs)
        self.leases = LeaseWatch()
        self._producers = producers
        self._unpublished: dict[str, RunRecord] = {}  # in the order they changed
        self._looked = 0.0
        self._ctx: Context

    async def start(self, ctx: Context) -> None:
        self._ctx = ctx
        if self._producers is None:
            self._producers = _producers_of(ctx)
        for event in await ctx.latest(*(f"{domain}.*.state" for domain in RUN_DOMAINS)):
            record = RunRecord.of_state(event)
            if record is None:
                continue
            silent = max(0.0, (wall.now_ns() - record.updated) / 1e9)
            if record.over and silent > self.settings.keep_over:
                continue
            record.heard = ctx.now() - silent
            self.known.keep(record)
            if record.leased and not record.over:
                self.leases.saw(record.key, EXPECTED_TTL, ctx.now())
        self._looked = ctx.now()
        if self._producers is not None:
            ctx.source("leases", self._watch, None)

    async def receive(self, event: Event, ctx: Context) -> None:
        if event.type == "state":
            return  # our own event
        record = await self._record(event, ctx)
        outcome = record.begin(event) if event.type == "workflow_start" else record.fold(event)
        if outcome not in (Change.CHANGED, Change.TURNED):
            # The completions that this actor published for lost producers are received as well.
            if not event.data.get("synthesized"):
                IGNORED_BY[outcome.value].inc()
            return
        record.heard = ctx.now()
        if record.over:
            self.leases.forget(record.key)
        self._kept(record, ctx, at_once=outcome is Change.TURNED)

    async def tick(self, ctx: Context) -> None:
        now = ctx.now()
        due = [record for record in self._unpublished.values() if now - record.told >= self.settings.interval]
        for record in due[:STATES_A_TICK]:
            self._tell(record, ctx)
        if now - self._looked < VIGIL_SECONDS:
            return
        self._looked = now
        self.known.drop_over(now - self.settings.keep_over)
        KNOWN.set(len(self.known))
        await self._fail_lost_runs(ctx)
        await self._end_the_silent(ctx)

    @command
    async def runs(self, domain: str | None = None, status: str | None = None, limit: int = 100) -> dict[str, Any]:
        """The latest states, the most recently heard of first."""
        states: list[dict[str, Any]] = []
        for record in self.known:
            if len(states) >= max(1, min(limit, 1000)):
                break
            if domain in (None, record.domain) and status in (None, record.status):
                states.append(record.state())
        return {"runs": states}

    @command
    async def run(self, run: str, domain: str | None = None) -> dict[str, Any]:
        """The latest state of one run."""
        return (await self._find(run, domain)).state()

    async def stop_run(self, run: str, domain: str | None = None, reason: str | None = None) -> dict[str, Any]:
        """Asks the producer of a run to stop it."""
        record = await self._find(run, domain)
        if record.over:
            raise Reject(f"the run {run} is over already: {record.status}")
        if self._producers is None:
            raise Reject("no producer can be reached from here")
        try:
            answer = await self._producers.stop(record.domain, record.run, reason)
        except (NoResponders, Timeout):
            raise Reject(f"nobody answers for the run {run}: its program cannot be asked to stop") from None
        if record.status != STOPPING:
            record.status = STOPPING
            record.updated = max(record.updated, wall.now_ns())
            self._kept(record, self._ctx, at_once=True)
        return {**answer, "status": record.status}

    def commands(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Adds `stop`, a name that every actor's own end has already."""
        return {**super().commands(), "stop": self.stop_run}

    async def _record(self, event: Event, ctx: Context) -> RunRecord:
        """Finds the run of an event; one that is not in memory may be over for long, and must not be opened again."""
        domain, token = event.subject.domain, event.subject.entity
        record = self.known.get(f"{domain}.{token}") or await self._recall(domain, token, ctx)
        return record or RunRecord(domain, token, event.time, event.time)

    async def _recall(self, domain: str, token: str, ctx: Context) -> RunRecord | None:
        stored = await ctx.latest(f"{domain}.{token}.state")
        record = RunRecord.of_state(stored[-1]) if stored else None
        if record is not None:
            record.heard = ctx.now()
            self.known.keep(record)
        return record

    async def _find(self, run: str, domain: str | None) -> RunRecord:
        """Finds a run by the name its producer gave it, or by its token. Raises Reject."""
        for each in RUN_DOMAINS if domain is None else (domain,):
            if each not in RUN_DOMAINS:
                raise Reject(f"domain must be one of {', '.join(RUN_DOMAINS)}")
            token = _token(run)
            if record := self.known.get(f"{each}.{token}") or await self._recall(each, token, self._ctx):
                return record
        raise Reject(f"no run {run[:60]!r} is known")

    def _kept(self, record: RunRecord, ctx: Context, at_once: bool) -> None:
        """Keeps a changed run and publishes its state: now, or with the next tick that is due."""
        if record.key in self.leases:
            record.leased = True
        self.known.keep(record)
        if at_once or ctx.now() - record.told >= self.settings.interval:
            self._tell(record, ctx)
        else:
            self._unpublished.setdefault(record.key, record)

    def _tell(self, record: RunRecord, ctx: Context) -> None:
        self._unpublished.pop(record.key, None)
        record.told = ctx.now()
        ctx.emit(f"{record.key}.state", record.state(), type="state", key=record.key)

    async def _watch(self, beat: Callable[[], None]) -> None:
        assert self._producers is not None

        def heard(key: str, ttl: float | None) -> None:
            self.leases.saw(key, ttl, self._ctx.now())

        await self._producers.watch(heard)

    async def _fail_lost_runs(self, ctx: Context) -> None:
        """Fails the runs whose producer is gone."""
        now = ctx.now()
        if self._producers is None or not self._producers.connected:
            self.leases.forgive(now)
            return
        for record in self.known.open():
            if not record.leased and record.key in self.leases:
                # Published, so that the next incarnation of this actor expects the lease.
                record.leased = True
                self._unpublished.setdefault(record.key, record)
        for key in self.leases.lost(now):
            self.leases.forget(key)
            gone = self.known.get(key)
            if gone is not None and not gone.over:
                await self._fail(gone, GONE, ctx)

    async def _end_the_silent(self, ctx: Context) -> None:
        for record in self.known.open():
            if ctx.now() - record.heard < self.settings.silent_after:
                break
            if not record.leased:
                hours = self.settings.silent_after / 3600
                await self._fail(record, f"nothing was heard of it for {hours:g} h", ctx)

    async def _fail(self, record: RunRecord, error: str, ctx: Context) -> None:
        """Publishes the completion that the producer did not, unless its own is stored and not received yet."""
        patterns = [f"{record.key}.{kind}" for kind in terminal_types(record.domain)]
        if any(_ends(event, record) for event in await ctx.latest(*patterns)):
            record.heard = ctx.now()
            self.known.keep(record)
            return
        VANISHED.inc()
        log.warning("producer of the run is gone; run ended as failed", extra={"run": record.key, "error": error})
        data = {"success": False, "error": error, "synthesized": True}
        subject = Subject.check(f"{record.key}.completion")
        ctx.emit(subject, data)
        record.fold(Event.new(subject, data, id=new_id()))
        self._kept(record, ctx, at_once=True)


def _ends(event: Event, record: RunRecord) -> bool:
    """Whether a stored event is the end of this life of a run."""
    return event.time >= record.started and ending(record.domain, event.type, event.data) is not None


def _token(run: str) -> str:
    """The token of a run's name. Raises Reject."""
    try:
        return Subject.of(RUN_DOMAINS[0], run, "state").entity
    except BadSubject:
        raise Reject("no run has such a name") from None


def _producers_of(ctx: Context) -> Producers | None:
    """Finds the way to the producers on a runtime on NATS; there is none under a Probe."""
    runtime = ctx._runtime
    return NatsProducers(runtime.broker.connection) if isinstance(runtime, BrokerRuntime) else None
