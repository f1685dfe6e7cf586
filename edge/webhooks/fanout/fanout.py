"""Fans out events to webhooks: one job for each session that shows an event, made in one process at a time.

The owner of the role reads each shard of EVENTS in order (`edge.webhooks.fanout.shard_fanout`), from a position that it keeps as a
checkpoint in LEASES. A position moves on only once every job before it is stored; what a successor repeats has the same ids, and
JetStream drops it.

A session starts at its own cursor, which usually lies behind the position: it is backfilled from there on its own, in
order, and joins the others in the moment it has caught up. How far each has come is saved too.

A session whose endpoint takes nothing, or that holds its share of HOOKS, gets no more jobs: it leaves the others, and is
backfilled once there is room (backpressure: `edge.webhooks.fanout.admission`). So it delays no other session, and its events
wait in EVENTS, where they cost nothing. A gap is published for events that EVENTS no longer has by then.

After a reshard each session has all events of the former generation's shards before the first of the next: so it has those of each
entity in their order, and a session whose endpoint takes nothing keeps no other in the former generation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Registry, Session
from edge.stats import Stats
from edge.webhooks import metrics
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.cleanup import Cleanup
from edge.webhooks.fanout.enqueue import JobWriter
from edge.webhooks.fanout.members import Member, Members
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.fanout.shard_events import ShardEvents, Subscribe
from edge.webhooks.fanout.shard_fanout import FanoutParts, ShardFanout
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.cluster.departures import Departures
from router.cluster.role import LeadershipLost, Role, WorkRestart
from router.coalescing import coalesced_sleep
from router.errors import BrokerError, Conflict
from router.layout import ORIGINAL, Shard
from router.nats.bucket import Bucket
from router.nats.publisher import Publisher
from router.record import Record
from router.replay import Replay
from router.topology import LEASES

log = logging.getLogger(__name__)

ROLE = "role.fanout"
# How often the positions are looked at where there is no session to make jobs for.
IDLE_SECONDS = 2.0


class Fanout:
    """The role that makes the jobs."""

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        stats: Callable[[str], Stats],
        publisher: Publisher,
        partitions: int,
        holder: str,
        settings: FanoutSettings | None = None,
        forget: Callable[[str], Awaitable[None]] | None = None,
        kept: Callable[[], Awaitable[set[str]]] | None = None,
        undecodable: Callable[[Record], None] = lambda _record: None,
        filtering: Filtering | None = None,
        condition: Callable[[str], EndpointState | None] = lambda _session: None,
        health: CircuitBreakerSettings | None = None,
        keep: float = 7 * 86400.0,
        subscribe: Subscribe | None = None,
        departures: Departures | None = None,
    ) -> None:
        """`subscribe` receives events by what the process has subscribed already; without it the fan-out subscribes itself.

        `forget` and `kept` are those of Cleanup; `undecodable` is called with each record that is no event.

        `condition` gives what the owner of an endpoint last said of it. Events wait at most `keep` seconds for an endpoint,
        where its session does not say how long.
        """
        self.settings = settings = settings or FanoutSettings()
        self._broker = broker
        self._registry = registry
        bucket = Bucket(broker.connection, LEASES)
        self._role = Role(bucket, ROLE, holder, settings.role, departures=departures)
        self.room = Room(broker, settings.room)
        self._admission = FanoutAdmission(self.room, condition, health)
        self._parts = FanoutParts(
            broker=broker,
            registry=registry,
            bucket=bucket,
            replay=Replay(broker, undecodable),
            filtering=filtering or Filtering(),
            admission=self._admission,
            writer=JobWriter(broker, publisher, self.room, stats, settings.pipeline),
            stats=stats,
            undecodable=undecodable,
            partitions=partitions,
            keep=keep,
            events=ShardEvents(broker, subscribe),
            settings=settings,
            finished=self._finished,
            moved=self._moved,
        )
        # By stream, oldest generation first; kept over ownerships, for what they remember.
        self._shards: dict[str, ShardFanout] = {ORIGINAL.stream: ShardFanout(ORIGINAL, self._parts)}
        # In which generation each session is, and which shards of that it has behind it.
        self._generation: dict[str, int] = {}
        self._done: dict[str, set[str]] = {}
        self._cleanup = Cleanup(broker, bucket, registry, self._shards_and_members, forget, kept)
        # The tasks of this ownership; None while another process owns the role.
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def owner(self) -> bool:
        """Whether this process fans out."""
        return self._tasks is not None

    @property
    def position(self) -> int:
        """The sequence up to which every job is stored, in the newest stream's first shard; known to the owner."""
        return self._newest[0].progress.position

    @property
    def _newest(self) -> list[ShardFanout]:
        newest = max(each.shard.generation for each in self._shards.values())
        return self._in(newest)

    def _in(self, generation: int) -> list[ShardFanout]:
        return [each for each in self._shards.values() if each.shard.generation == generation]

    def _shards_and_members(self) -> Sequence[tuple[Shard, Members]]:
        return [(each.shard, each.members) for each in self._shards.values()]

    async def run(self) -> None:
        """Fans out whenever this process owns the role, until cancelled; then releases it at once."""
        await self._role.run(self._own)

    async def _own(self) -> None:
        changed = asyncio.Event()
        unlisten = self._broker.on_layout(changed.set)
        try:
            await self._take_over()
            metrics.owner.set(1)
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._begin(tasks)
                    tasks.create_task(_renew(changed), name="fan-out layout")
            finally:
                self._end()
        finally:
            unlisten()

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        for shard in self._shards.values():
            shard.begin(tasks)
        for session in list(self._registry.sessions.values()):
            self.change(session.id, session)
        tasks.create_task(self._save_often(), name="fan-out position")
        tasks.create_task(self._cleanup.run(self.settings.sweep_every), name="fan-out cleanup")
        tasks.create_task(self._measure(), name="fan-out room")

    def _end(self) -> None:
        self._tasks = None
        metrics.owner.set(0)
        for shard in self._shards.values():
            shard.stop()
        self._generation.clear()
        self._done.clear()
        self._admission.clear()
        self._report()

    async def _take_over(self) -> None:
        """Reads how far the predecessor came, in each shard that there is."""
        while True:
            try:
                layout = self._broker.layout
                self._shards = {
                    shard.stream: self._shards.get(shard.stream) or ShardFanout(shard, self._parts)
                    for generation in layout.generations
                    for shard in generation.shards
                }
                for generation in layout.generations:
                    ends = generation.ends or (None,) * len(generation.shards)
                    for shard, end in zip(generation.shards, ends, strict=True):
                        await self._shards[shard.stream].load(end)
                break
            except BrokerError as fault:
                log.warning("the fan-out cannot start yet; it tries again", extra={"fault": str(fault)})
                await asyncio.sleep(0.5)
        await self.room.measure_or_not()

    def change(self, session_id: str, session: Session | None) -> None:
        """Follows a session that was made or changed; None for one that was deleted."""
        if self._tasks is None:
            return
        known = self._generation.get(session_id)
        if session is None or session.spec.delivery_method != "webhook":
            if known is not None:
                del self._generation[session_id]
                self._done.pop(session_id, None)
                for shard in self._shards.values():
                    shard.remove(session_id)
                self._admission.forget(session_id)
        elif known is not None:
            for shard in self._in(known):
                shard.change(session)
        else:
            self._admit(session, self._first_generation(session))

    def _first_generation(self, session: Session) -> int:
        """The generation in which a session goes on, by what was saved of it, or begins."""
        shards = self._shards.values()
        found = {each.shard.generation for each in shards if session.id in each.members.marks}
        found = found or {each.shard.generation for each in shards if session.start_in(each.progress.epoch) is not None}
        # Where its start is in no stream that is kept, all that is kept is news to it.
        return max(found, default=min(each.shard.generation for each in shards))

    def _admit(self, session: Session, generation: int) -> None:
        self._generation[session.id] = generation
        for shard in self._in(generation):
            shard.admit(session)

    def _finished(self, shard: ShardFanout, session: Session) -> None:
        """Lets a session go on in the next generation, once it has all events of each shard of this one."""
        done = self._done.setdefault(session.id, set())
        done.add(shard.shard.stream)
        generation = shard.shard.generation
        if done < {each.shard.stream for each in self._in(generation)}:
            return
        del self._done[session.id]
        later = {each.shard.generation for each in self._shards.values()}
        following = min((number for number in later if number > generation), default=None)
        current = self._registry.sessions.get(session.id)
        if following is not None and current is not None:
            self._admit(current, following)

    # Beside

    async def _save_often(self) -> None:
        try:
            while True:
                busy = any(shard.members.all for shard in self._shards.values())
                await coalesced_sleep(self.settings.save_every if busy else IDLE_SECONDS)
                try:
                    await self._save()
                except Conflict:
                    raise LeadershipLost from None
                except BrokerError as fault:
                    log.debug("the fan-out's position was not saved", extra={"fault": str(fault)})
        except asyncio.CancelledError:
            # Leaving in good order: the successor then repeats nothing.
            try:
                async with asyncio.timeout(1.0):
                    await self._save()
            except (BrokerError, TimeoutError):
                log.debug("the fan-out's last position was not saved; the successor repeats some jobs")
            raise

    async def _save(self) -> None:
        for shard in list(self._shards.values()):
            await shard.save()
        if not any(shard.progress.suspect for shard in self._shards.values()):
            await self._cleanup.remove_deleted()

    async def _measure(self) -> None:
        """Keeps measuring the room there is."""
        while True:
            waiting = list(self._waiting())
            wanted = any(member.reason in ("share", "stream") for member in waiting)
            if (seconds := self.room.due_in(wanted)) > 0:
                if waiting:
                    await asyncio.sleep(min(seconds, self.settings.room.every))
                else:
                    await self.room.wait(seconds)
                continue
            await self.room.measure_or_not()
            self._report()

    def _waiting(self) -> list[Member]:
        return [member for shard in self._shards.values() for member in shard.members.waiting.values()]

    def _moved(self) -> None:
        metrics.lag.set(sum(shard.lag for shard in self._shards.values()))

    def _report(self) -> None:
        """Brings the metrics up to date."""
        # Of a session that waits in several shards one reason is counted.
        apart: dict[str, str] = {}
        behind = share = 0.0
        for shard in self._shards.values():
            progress = shard.progress
            waiting = [member for member in shard.members.all.values() if not member.joined]
            apart |= {member.session.id: member.reason or "past" for member in waiting}
            most = max((progress.matched - member.after for member in waiting), default=0)
            behind += max(0, most)
            kept = progress.matched - progress.oldest
            share = max(share, min(1.0, most / kept) if kept > 0 and most > 0 else 0.0)
        reasons = Counter(apart.values())
        for reason in metrics.WAITING:
            metrics.waiting.labels(reason).set(reasons[reason])
        shares = Counter("all" if part >= 0.95 else "half" if part > 0.5 else "some" for part in self.room.shares())
        for part in metrics.SHARES:
            metrics.held.labels(part).set(shares[part])
        metrics.backlog.set(behind)
        metrics.backlog_share.set(share)


async def _renew(changed: asyncio.Event) -> None:
    """Starts the fan-out again from its checkpoints where the events go to other streams from now on."""
    await changed.wait()
    log.info("the layout of the events has changed; the fan-out starts again with their present streams")
    raise WorkRestart
