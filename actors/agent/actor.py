"""Folds what agents, jobs and threads report into the latest state of each run, for readers that join late.

A life of a run ends once. Whatever comes after its end changes nothing, until a workflow_start begins the next one; what
comes of a life before changes nothing either. A run whose producer is gone without a word is ended here, so that nobody
watches a bar that will never move again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.agent.ends import RunEnds
from actors.agent.leases import Lease
from actors.agent.metrics import IGNORED_BY, KNOWN
from actors.agent.producers import NatsProducers, Producers
from actors.agent.record import STOPPING, Change, RunRecord
from actors.agent.runs import Runs
from actors.agent.stages import Stages
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from actors.system.runtime import BrokerRuntime
from router.catalogue import RUN_DOMAINS
from router.clock import wall
from router.errors import BadSubject, BrokerError, NoResponders, Timeout
from router.event import Event
from router.subject import Subject

# How often leases are checked; a lease lives for ten seconds.
VIGIL_SECONDS = 1.0
# 200 states a tick, 800 a second: states of runs must not crowd out the runs' own events.
STATES_A_TICK = 200
# 1 s: stages are for people, and as many as a screen holds are some KB.
STAGES_SECONDS = 1.0
# How long a rebuilt run waits for the lease of its producer, where that had been seen before.
EXPECTED_TTL = 10.0
# What this actor publishes itself.
_OWN = frozenset({"state", "stages"})


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
        self.ends: RunEnds | None = None
        self._producers = producers
        # In the order they changed.
        self._unpublished: dict[str, RunRecord] = {}
        self._stages_unpublished: dict[str, RunRecord] = {}
        self._looked = 0.0
        self._ctx: Context

    async def start(self, ctx: Context) -> None:
        self._ctx = ctx
        if self._producers is None:
            self._producers = _producers_of(ctx)
        if self._producers is not None:
            self.ends = RunEnds(self._producers, self.known, self.name, ctx.now)
        for event in await ctx.latest(*(f"{domain}.*.state" for domain in RUN_DOMAINS)):
            record = RunRecord.of_state(event)
            if record is None:
                continue
            silent = max(0.0, (wall.now_ns() - record.updated) / 1e9)
            if record.over and silent > self.settings.keep_over:
                continue
            record.heard = ctx.now() - silent
            self.known.keep(record)
            if record.leased and not record.over and self.ends:
                self.ends.leases.expect(record.key, Lease(EXPECTED_TTL, record.incarnation), ctx.now())
        for event in await ctx.latest(*(f"{domain}.*.stages" for domain in RUN_DOMAINS)):
            found = self.known.get(f"{event.subject.domain}.{event.subject.entity}")
            if found is not None and found.incarnation == event.data.get("incarnation"):
                found.stages = Stages.of_shown(event.data)
        self._looked = ctx.now()
        if self.ends:
            ctx.source("leases", self.ends.watch_leases, None)
            ctx.source("runs", self.ends.watch_entries, None)

    async def receive(self, event: Event, ctx: Context) -> None:
        if event.type in _OWN:
            return
        record = await self._record(event, ctx)
        begins = event.type == "workflow_start"
        outcome = record.begin(event) if begins else record.fold(event)
        if outcome not in (Change.CHANGED, Change.TURNED):
            IGNORED_BY[outcome.value].inc()
            return
        record.heard = ctx.now()
        if self.ends:
            if begins:
                await self.ends.began(record, event, ctx.now())
            elif record.over:
                await self.ends.over(record, event)
        self._kept(record, ctx, at_once=outcome is Change.TURNED)
        if outcome is Change.TURNED:
            self._tell_parent(record, ctx)

    async def tick(self, ctx: Context) -> None:
        now = ctx.now()
        due = [record for record in self._unpublished.values() if now - record.told >= self.settings.interval]
        for record in due[:STATES_A_TICK]:
            self._tell(record, ctx)
        due = [each for each in self._stages_unpublished.values() if now - each.stages_told >= STAGES_SECONDS]
        for record in due[:STATES_A_TICK]:
            self._tell_stages(record, ctx)
        if now - self._looked < VIGIL_SECONDS:
            return
        self._looked = now
        self.known.drop_over(now - self.settings.keep_over)
        KNOWN.set(len(self.known))
        if self.ends:
            for record in self.ends.newly_leased():
                # Published, so that the next incarnation of this actor expects the lease.
                self._unpublished.setdefault(record.key, record)
            await self.ends.check(now)
            await self._end_the_silent(ctx, self.ends)

    @command
    async def runs(
        self, domain: str | None = None, status: str | None = None, limit: int = 100, parent: str | None = None
    ) -> dict[str, Any]:
        """The latest states of the runs in memory, the most recently heard of first."""
        states: list[dict[str, Any]] = []
        for record in self.known:
            if len(states) >= max(1, min(limit, 1000)):
                break
            if domain in (None, record.domain) and status in (None, record.status) and parent in (None, record.parent):
                states.append(record.state())
        return {"runs": states}

    @command
    async def run(self, run: str, domain: str | None = None) -> dict[str, Any]:
        """The latest state of one run."""
        return (await self._find(run, domain)).state()

    async def stop_run(self, run: str, domain: str | None = None, reason: str | None = None) -> dict[str, Any]:
        """Asks the producer of a run to stop it; `via` in the answer says how: `nats`, or `http` with its next heartbeat."""
        record = await self._find(run, domain)
        if record.over:
            raise Reject(f"the run {run} is over already: {record.status}")
        if self._producers is None or self.ends is None:
            raise Reject("no producer can be reached from here")
        lease = self.ends.leases.of(record.key, record.incarnation)
        if lease is not None and lease.via == "http":
            answer = await self._stop_by_heartbeat(record, reason, self.ends)
        else:
            try:
                answer = {**await self._producers.stop(record.domain, record.run, reason), "via": "nats"}
            except (NoResponders, Timeout):
                raise Reject(f"nobody answers for the run {run}: its program cannot be asked to stop") from None
        if record.status != STOPPING:
            record.status = STOPPING
            record.updated = max(record.updated, wall.now_ns())
            self._kept(record, self._ctx, at_once=True)
        return {**answer, "status": record.status}

    async def _stop_by_heartbeat(self, record: RunRecord, reason: str | None, ends: RunEnds) -> dict[str, Any]:
        try:
            open = await ends.stop_by_heartbeat(record, reason)
        except BrokerError as fault:
            raise Reject(f"the request to stop {record.run} could not be stored: {fault}") from None
        if not open:
            raise Reject(f"the run {record.run} is over already")
        return {"ok": True, "run": record.run, "domain": record.domain, "via": "http"}

    def commands(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Adds `stop`, a name that every actor's own end has already."""
        return {**super().commands(), "stop": self.stop_run}

    async def _record(self, event: Event, ctx: Context) -> RunRecord:
        """Finds the run of an event; one that is not in memory may be over for long, and must not be opened again."""
        domain, token = event.subject.domain, event.subject.entity
        record = self.known.get(f"{domain}.{token}") or await self._recall(domain, token, ctx)
        return record or RunRecord(domain, token, event.time, event.time)

    async def _recall(self, domain: str, token: str, ctx: Context) -> RunRecord | None:
        stored = {
            event.type: event for event in await ctx.latest(f"{domain}.{token}.state", f"{domain}.{token}.stages")
        }
        record = RunRecord.of_state(stored["state"]) if "state" in stored else None
        if record is not None:
            if "stages" in stored and stored["stages"].data.get("incarnation") == record.incarnation:
                record.stages = Stages.of_shown(stored["stages"].data)
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
        if self.ends and self.ends.leases.of(record.key, record.incarnation) is not None:
            record.leased = True
        self.known.keep(record)
        if at_once or ctx.now() - record.told >= self.settings.interval:
            self._tell(record, ctx)
        else:
            self._unpublished.setdefault(record.key, record)
        if record.stages is not None and record.stages.changed:
            record.stages.limit = self.known.stages_a_run
            if record.over or ctx.now() - record.stages_told >= STAGES_SECONDS:
                self._tell_stages(record, ctx)
            else:
                self._stages_unpublished.setdefault(record.key, record)

    def _tell(self, record: RunRecord, ctx: Context) -> None:
        self._unpublished.pop(record.key, None)
        record.told = ctx.now()
        ctx.emit(f"{record.key}.state", record.state(), type="state", key=record.key)

    def _tell_stages(self, record: RunRecord, ctx: Context) -> None:
        self._stages_unpublished.pop(record.key, None)
        record.stages_told = ctx.now()
        if record.stages is not None:
            record.stages.changed = False
            data = {"run": record.run, "incarnation": record.incarnation, **record.stages.shown()}
            ctx.emit(f"{record.key}.stages", data, type="stages", key=record.key)

    def _tell_parent(self, record: RunRecord, ctx: Context) -> None:
        """Shows a run that began or ended among the stages of its parent run, where that is known by this name."""
        token = _token_of(record.parent)
        if token is None:
            return
        for domain in (record.domain, *RUN_DOMAINS):
            above = self.known.get(f"{domain}.{token}")
            if above is not None and above is not record:
                above.take_child(record)
                self._kept(above, ctx, at_once=False)
                return

    async def _end_the_silent(self, ctx: Context, ends: RunEnds) -> None:
        hours = self.settings.silent_after / 3600
        for record in self.known.open():
            if ctx.now() - record.heard < self.settings.silent_after:
                break
            if not record.leased:
                # Asked once in so long, whatever becomes of it.
                record.heard = ctx.now()
                self.known.keep(record)
                try:
                    await ends.fail(record, f"nothing was heard of it for {hours:g} h")
                except BrokerError:
                    return


def _token_of(run: str | None) -> str | None:
    """The token of a run's name; None where none has such a name."""
    try:
        return Subject.of(RUN_DOMAINS[0], run, "state").entity if run is not None else None
    except BadSubject:
        return None


def _token(run: str) -> str:
    """The token of a run's name. Raises Reject."""
    if (token := _token_of(run)) is None:
        raise Reject("no run has such a name")
    return token


def _producers_of(ctx: Context) -> Producers | None:
    """Finds the way to the producers on a runtime on NATS; there is none under a Probe."""
    runtime = ctx._runtime
    return NatsProducers(runtime.broker) if isinstance(runtime, BrokerRuntime) else None
