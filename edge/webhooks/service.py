"""Runs the webhooks of one edge process: the fan-out that makes jobs, and the partitions whose jobs it delivers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge.filters.evaluation import Filtering
from edge.sessions.expiry import Posted
from edge.sessions.registry import Registry, Session
from edge.settings import PolicySettings
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import GuardSettings
from edge.webhooks.endpoint.breaker import CircuitBreaker
from edge.webhooks.endpoint.rules import default_breaker
from edge.webhooks.endpoint.state import EndpointState, StateChange
from edge.webhooks.endpoint.state_changes import endpoint_event
from edge.webhooks.endpoint.store import EndpointStore
from edge.webhooks.fanout.fanout import Fanout
from edge.webhooks.fanout.marks import waiting_events, waits_for_jobs
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.fanout.shard_events import Subscribe
from edge.webhooks.history.attempt_log import AttemptLog, AttemptLogSettings
from edge.webhooks.history.delivery_stats import DeliveryStats
from edge.webhooks.queue.job import PARTITIONS, partition_of
from edge.webhooks.worker.context import WorkerContext, WorkerSettings
from edge.webhooks.worker.worker import PartitionWorker
from router.broker import Broker
from router.clock import wall
from router.cluster.departures import Departures
from router.cluster.partitions import Partitions
from router.cluster.role import RoleSettings
from router.coalescing import coalesced_sleep
from router.errors import BrokerError
from router.layout import FIRST
from router.nats.bucket import Bucket, WriteGuard
from router.nats.publisher import Publisher
from router.record import Record
from router.topology import HOOKS, LEASES, RETRIES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WebhookSettings:
    """How webhooks are delivered. All processes of a deployment must agree on `partitions`. Times in seconds."""

    partitions: int = PARTITIONS
    owner: RoleSettings = field(default_factory=RoleSettings)
    fanout: FanoutSettings = field(default_factory=FanoutSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    attempts: AttemptLogSettings = field(default_factory=AttemptLogSettings)
    # How often the jobs in the partitions are counted.
    count_every: float = 15.0

    @classmethod
    def of(cls, policy: PolicySettings) -> WebhookSettings:
        """The settings of a deployment that sets its own defaults for endpoints."""
        return cls(worker=WorkerSettings(policy=policy, breaker=default_breaker(policy)))


class Webhooks:
    """The webhooks of one edge process: it delivers the jobs of its partitions, and fans out where it owns that role."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        guard: GuardSettings,
        settings: WebhookSettings | None = None,
        epoch: Callable[[], str] = lambda: "",
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
        writes: WriteGuard | None = None,
        subscribe: Subscribe | None = None,
    ) -> None:
        """`undecodable` is called with each record of the fan-out that is no event; for `subscribe` see Fanout."""
        self.settings = settings or WebhookSettings()
        self._broker = broker
        self._registry = registry
        self._current_epoch = epoch
        self._first_epoch = ""
        # The epochs of the streams of events, where a reshard has made several.
        self._epochs: dict[str, str] = {}
        self._resharded = asyncio.Event()
        broker.on_layout(self._resharded.set)
        self._sender = Sender(guard)
        self.attempts = AttemptLog(broker, self.settings.attempts)
        self.endpoints = EndpointStore(broker.connection, writes)
        publisher = Publisher(broker.connection)
        holder = secrets.token_hex(8)
        self.delivery_stats = DeliveryStats(broker, holder)
        # Of the members of the partitions, which all edge processes are.
        self.departures = Departures()
        self.fanout = Fanout(
            broker,
            registry,
            self.delivery_stats.of,
            publisher,
            self.settings.partitions,
            holder,
            self.settings.fanout,
            forget=self._forget,
            kept=self._kept,
            undecodable=undecodable,
            filtering=filtering,
            condition=self.endpoints.of,
            health=self.settings.worker.breaker,
            keep=self.settings.worker.keep,
            subscribe=subscribe,
            departures=self.departures,
        )
        self._context = WorkerContext(
            broker,
            registry,
            self._sender,
            self.attempts,
            publisher,
            self.endpoints,
            self.delivery_stats.of,
            self._epoch,
            self._epoch_of,
            self.settings.worker,
            self.settings.partitions,
        )
        self._context.acks.before = self.delivery_stats.flush
        self.partitions = Partitions(
            Bucket(broker.connection, LEASES),
            self.settings.partitions,
            holder,
            self._begin,
            self.settings.owner,
            metrics.PartitionMetrics(),
            self.departures,
        )
        self._ready = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        registry.on_change(self._changed)

    async def run(self) -> None:
        """Delivers until cancelled or closed."""
        await self._registry.ready.wait()
        await self._learn_epoch()
        if self._closing:
            return
        async with self._sender, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(), name="webhook conditions")
            counting = tasks.create_task(self._count(), name="webhook counts")
            fanning = tasks.create_task(self.fanout.run(), name="webhook fan-out")
            noting = tasks.create_task(self.attempts.run(), name="webhook attempts")
            ending = tasks.create_task(self._context.acks.run(), name="webhook acks")
            keeping = tasks.create_task(self.delivery_stats.run(), name="webhook stats")
            following = tasks.create_task(self._follow_layout(), name="webhook layout")
            self._tasks = [fanning]
            await self._ready.wait()
            await self.partitions.run()
            for each in (watching, counting, fanning, noting, ending, keeping, following):
                each.cancel()

    async def _learn_epoch(self) -> None:
        """Reads the epoch of the event store, because `epoch` may not know it yet."""
        while not self._closing:
            try:
                layout = (await self._broker.events_state()).layout
                self._first_epoch = layout.current.epoch
                self._epochs = {shard.stream: shard.epoch for shard in layout.by_stream.values()}
                return
            except BrokerError as fault:
                log.info("webhooks wait for the event store; they try again", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)

    async def _follow_layout(self) -> None:
        while True:
            await self._resharded.wait()
            self._resharded.clear()
            await self._learn_epoch()

    def _epoch_of(self, stream: str) -> str | None:
        return None if self._broker.layout is FIRST else self._epochs.get(stream)

    async def _watch(self) -> None:
        while True:
            try:
                await self.endpoints.run(self._ready.set)
            except BrokerError as fault:
                log.info("webhooks wait for the states of their endpoints; they try again", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)

    def _begin(self, partition: int, epoch: int, clean: bool) -> PartitionWorker:
        return PartitionWorker(self._context, partition, epoch, clean)

    def _epoch(self) -> str:
        return self._current_epoch() or self._first_epoch

    def stats(self, session_id: str) -> Stats:
        """What this process has counted for a session. Jobs are counted by the fan-out, deliveries where they happen."""
        return self.delivery_stats.of(session_id)

    async def _forget(self, session_id: str) -> None:
        await self.endpoints.forget(session_id)
        await self.delivery_stats.forget(session_id)

    async def _kept(self) -> set[str]:
        return await self.endpoints.kept() | await self.delivery_stats.kept()

    # The states of endpoints, from any process

    def health(self, session_id: str) -> dict[str, Any]:
        """The state of a session's endpoint, as its owner last stored it."""
        session = self._registry.sessions.get(session_id)
        rate = session.spec.webhook.rate if session is not None and session.spec.webhook is not None else None
        partition = partition_of(session_id, self.settings.partitions)
        return {
            **(self.endpoints.of(session_id) or EndpointState()).describe(rate),
            "partition": partition,
            "partition_owned": partition not in self.partitions.unowned,
        }

    async def waiting_events(self, session: Session) -> int:
        """How many events wait in EVENTS for a session, at most. Raises BrokerError."""
        return await waiting_events(self._broker, session)

    async def posted(self, session: Session, before: float) -> Posted:
        """When a session was posted last, and whether something waits: a job, or an event stored before a time (s) that is no job yet.

        Raises BrokerError.
        """
        stats = await self.delivery_stats.session(session.id)
        if not stats.queued:
            if await waits_for_jobs(self._broker, session, before):
                return Posted(stats.last_delivery, True)
            # What was none yet at the first look may have become a job before the second.
            stats = await self.delivery_stats.session(session.id)
        return Posted(stats.last_delivery, stats.queued > 0)

    async def enable(self, session_id: str) -> dict[str, Any]:
        """Resumes a disabled or halted endpoint, with its parked jobs first. Raises Problem or BrokerError."""
        return await self._order(session_id, CircuitBreaker.enable)

    async def disable(self, session_id: str, reason: str = "operator") -> dict[str, Any]:
        """Stops deliveries to an endpoint until it is enabled: its jobs are parked, and it gets no more of them.

        Raises Problem or BrokerError.
        """
        return await self._order(session_id, lambda breaker: breaker.disable(reason))

    async def _order(self, session_id: str, order: Callable[[CircuitBreaker], list[StateChange]]) -> dict[str, Any]:
        session = await self._registry.find(session_id)
        changes: list[StateChange] = []

        def make(before: EndpointState) -> EndpointState:
            breaker = CircuitBreaker(self.settings.worker.breaker, 1, before)
            changes[:] = order(breaker)
            return breaker.snapshot(before.parked, before.oldest)

        state = await self.endpoints.change(session_id, make)
        if session.spec.webhook is not None:
            for change in changes:
                unique = str(int(state.since * 1000))
                await self._broker.publish(endpoint_event(session, change, unique, state))
        return self.health(session_id)

    async def close(self, grace: float) -> None:
        """Releases the fan-out and the partitions to other processes at once, and finishes the attempts under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self._ready.set()
        await self.partitions.close(grace)

    # Beside

    async def _count(self) -> None:
        """Counts the jobs in the partitions of this process, seldom: the server has to count them."""
        while True:
            dispatchers = [each for worker in self._workers() for each in worker.dispatchers.values()]
            states = Counter(each.breaker.shown_state for each in dispatchers)
            for state in metrics.STATES:
                metrics.endpoints.labels(state).set(states[state])
            metrics.parked.set(sum(each.parked for each in dispatchers))
            oldest = min((each.oldest for each in dispatchers if each.oldest), default=0.0)
            metrics.parked_age.set(max(0.0, wall.now() - oldest) if oldest else 0.0)
            try:
                fresh, due = await self._count_pending()
                metrics.pending.labels("fresh").set(fresh)
                metrics.pending.labels("due").set(due)
            except BrokerError as fault:
                log.debug("pending webhook jobs cannot be counted", extra={"fault": str(fault)})
            self._sender.retain(self._registry.sessions)
            await coalesced_sleep(self.settings.count_every)

    async def _count_pending(self) -> tuple[int, int]:
        """How many new jobs and retries are not in hand yet in the partitions of this process. Raises BrokerError."""
        # Where both streams are empty, as they mostly are, that says it in two requests instead of two for each partition.
        states = await asyncio.gather(*(self._broker.stream(name).state() for name in (HOOKS, RETRIES)))
        if not any(state["messages"] for state in states):
            return 0, 0
        pending = await asyncio.gather(*(worker.count_pending() for worker in self._workers()))
        return sum(fresh for fresh, _ in pending), sum(due for _, due in pending)

    def _workers(self) -> list[PartitionWorker]:
        return [each for each in self.partitions.terms.values() if isinstance(each, PartitionWorker)]

    def _changed(self, session_id: str, session: Session | None) -> None:
        if session is not None and session.spec.delivery_method != "webhook":
            # It never was one: how a session is delivered does not change.
            return
        self.fanout.change(session_id, session)
        worker = self.partitions.terms.get(partition_of(session_id, self.settings.partitions))
        if isinstance(worker, PartitionWorker):
            worker.changed(session_id, session)
        if session is None:
            self.delivery_stats.drop(session_id)
