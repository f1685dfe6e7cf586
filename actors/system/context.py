"""Gives an actor its context: what it may emit, publish, show, start, ask and wait for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from actors.system.metrics import Gauges
from actors.system.runtime import Runtime
from actors.system.source import MAX_PAUSE_SECONDS, Run, Source, SourceEnded
from actors.system.state import Incarnations
from router import tracing
from router.cluster.leases import Viewers
from router.codec import encode
from router.dedup import dedup_id
from router.errors import BrokerError, Refused, RouterError, Timeout
from router.event import Event, new_id
from router.rendition import DEFAULT, Rendition, rendition_subject
from router.timing import Clock, SystemClock, full_jitter

__all__ = ["Context", "NotNow", "Outbox", "SourceEnded"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Three threads: one for a capture, one for an encoding, one to spare. All actors share the machine's cores.
THREADS = 3
# A cause's id longer than this is shortened to its digest, for an id has at most 200 characters.
MAX_CAUSE = 120


# Where nobody numbers the lives: of actors that are not watched, and in tests.
_lives = Incarnations()


class NotNow(RouterError):
    """emit belongs inside receive, tick, start, stop or a command; a source uses publish"""


class Outbox:
    """The events that one message led to; they are published when the actor's method has returned."""

    def __init__(self, actor: str, cause: Event | None, origin: str | None = None) -> None:
        """`origin` tells the cause from every other event of the same id: a digest of it as it was stored."""
        self.cause = cause
        # The trace of the events: that of the cause, or the span of handling it.
        self.trace = cause.trace if cause else None
        self.open = True
        self.events: list[tuple[Event, bytes]] = []
        # Writes of stored state, which follow the events.
        self.writes: list[Callable[[], Awaitable[object]]] = []
        self._actor = actor
        self._origin = origin
        self._cause_id = cause.id if cause else new_id()
        if len(self._cause_id) > MAX_CAUSE:
            self._cause_id = hashlib.sha256(self._cause_id.encode()).hexdigest()[:32]

    def add(self, subject: str, data: Mapping[str, Any], type: str | None, key: str | None) -> None:
        """Makes the event, with an id that a second run would give it again. Raises BadSubject or BadEvent.

        The id is for readers; JetStream gets `dedup` instead, because causes of two publishers may have one id.
        """
        event = Event.new(
            subject,
            data,
            type=type,
            source=self._actor,
            id=f"{self._cause_id}.{self._actor}.{len(self.events) + 1}",
            key=key,
            cause=self.cause.id if self.cause else None,
            trace=self.trace,
            test=self.cause.test if self.cause else False,
        )
        # Encoded now: a fault shows where it was made, and what the actor changes afterwards does not change the event.
        self.events.append((event, encode(event)))

    def dedup(self, place: int) -> str | None:
        """Names the event of a place (from 0) for JetStream's duplicate detection; None where its own id will do."""
        return None if self._origin is None else dedup_id("actor", self._actor, self._origin, place)


_outbox: ContextVar[Outbox | None] = ContextVar("outbox", default=None)


class Context:
    """What one incarnation of an actor can do beyond itself."""

    def __init__(
        self,
        name: str,
        instance: str,
        runtime: Runtime,
        clock: Clock | None = None,
        gauges: Gauges | None = None,
        life: int | None = None,
    ) -> None:
        """`life` numbers the incarnation: ms since the epoch at which it began, and larger than any before."""
        self.life = _lives.next() if life is None else life
        self.name = name
        self.instance = instance
        self.gauges = gauges or Gauges(name)
        self._runtime = runtime
        self._clock = clock or SystemClock()
        self._group: asyncio.TaskGroup | None = None
        self._children: list[asyncio.Task[None]] = []
        self._viewers: dict[tuple[str, str], Viewers] = {}
        self._threads: ThreadPoolExecutor | None = None

    def emit(self, subject: str, data: Mapping[str, Any], *, type: str | None = None, key: str | None = None) -> None:
        """Emits an event; it is published once the running method returns, and not at all where it raises."""
        outbox = _outbox.get()
        if outbox is None or not outbox.open:
            raise NotNow
        outbox.add(subject, data, type, key)

    def commit(self, write: Callable[[], Awaitable[object]]) -> None:
        """Writes stored state once the running method has returned, and before its message is acknowledged.

        It has no time limit: where NATS is away, the write is repeated until it is back. So `write` must be harmless when it
        is repeated, and also when the message comes again. It may raise what crashes the actor.
        """
        outbox = _outbox.get()
        if outbox is None or not outbox.open:
            raise NotNow
        outbox.writes.append(write)

    async def publish(
        self,
        subject: str,
        data: Mapping[str, Any],
        *,
        type: str | None = None,
        key: str | None = None,
        id: str | None = None,
        ttl: float | None = None,
    ) -> None:
        """Stores an event now; JetStream has it when this returns, and keeps it for `ttl` seconds at most. Raises BrokerError."""
        trace = tracing.begin() if tracing.recorder else None
        event = Event.new(subject, data, type=type, source=self.name, key=key, id=id, trace=trace)
        await self._runtime.publish(event, encode(event), ttl=ttl)

    def frame(
        self,
        domain: str,
        entity: str,
        header: Mapping[str, Any],
        body: bytes,
        track: str | None = None,
        rendition: Rendition = DEFAULT,
    ) -> bool:
        """Shows a picture: at once, or never where a newer one of its track and rendition comes first.

        False says that an earlier one was never shown: this one replaced it, or NATS was away.
        """
        return self._runtime.frame(rendition_subject(domain, entity, track, rendition), header, body)

    def packet(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Sends the next packet of a stream whose packets need one another: in order, and none is left out in between.

        False says that packets were lost, because NATS was away or too slow: the ones that waited are dropped, and the next
        one should be a key. A packet whose header has `key` is kept even then.
        """
        return self._runtime.packet(subject, header, body)

    def source(self, name: str, run: Run, silence: float | None, longest_pause: float = MAX_PAUSE_SECONDS) -> Source:
        """Starts a long-running child and keeps it running; see `Source`. It ends with this incarnation."""
        restarted = self.gauges.source_restarts.inc
        source = Source(f"{self.name}.{name}", run, silence, self._clock, restarted, longest_pause)
        self._child(source.keep(), name)
        return source

    async def offload(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs what takes CPU or blocks in one of a few threads of this actor."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"actor-{self.name}")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: fn(*args, **kwargs))

    def now(self) -> float:
        """Seconds on a clock that never jumps; says nothing about the date."""
        return self._clock.now()

    def horizon(self) -> int | None:
        """Up to when (ns since the epoch) the actor has handled all stored events of its subjects; None where none waits.

        An actor that waits for events takes this for the time that it is, where it is not None: after an outage, what came
        meanwhile is not missing, it has only not been handled yet.
        """
        return self._runtime.horizon()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await self._clock.sleep(seconds)

    def viewers(self, domain: str, entity: str) -> Viewers:
        """Counts who watches an entity's pictures now."""
        found = self._viewers.get((domain, entity))
        if found is None:
            found = self._viewers[domain, entity] = self._runtime.viewers(domain, entity)
            self._child(self._runtime.count(found), f"viewers of {domain}.{entity}")
        return found

    async def latest(self, *patterns: str) -> list[Event]:
        """Reads the newest stored event of every subject under the patterns, oldest first."""
        return await self._runtime.latest(patterns)

    async def last(self, subject: str) -> Event | None:
        """Reads the newest stored event of one subject; None where there is none.

        It takes the right to read this subject only, where `latest` takes that to read all.
        """
        return await self._runtime.last(subject)

    async def kept(self, name: str) -> dict[str, Any] | None:
        """What this actor keeps under a name over the restarts of its process; None where nothing is. Waits for NATS."""
        return await self._runtime.kept(name)

    async def keep(self, name: str, kept: Mapping[str, Any]) -> None:
        """Keeps plain data under a name over the restarts of the process, instead of those before. Raises BrokerError."""
        await self._runtime.keep(name, kept)

    @contextlib.asynccontextmanager
    async def incarnation(self) -> AsyncIterator[None]:
        """Holds what the incarnation started; on leaving, its children are cancelled and awaited."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    yield
                finally:
                    self.end_children()
        finally:
            self._group = None
            if self._threads is not None:
                # Not waited for: a thread that hangs in a device must not hold up the restart that could cure it.
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None

    def end_children(self) -> None:
        """Cancels the sources and the counting of viewers."""
        for child in self._children:
            child.cancel()

    async def children_ended(self) -> None:
        """Cancels the children and returns once they have ended."""
        self.end_children()
        # From here on a new child would outlive the incarnation.
        self._group = None
        if self._children:
            await asyncio.wait(self._children)

    @contextlib.contextmanager
    def outbox(self, cause: Event | None = None, origin: str | None = None) -> Iterator[Outbox]:
        """Opens the outbox that `emit` fills; `origin` is where the cause comes from."""
        outbox = Outbox(self.name, cause, origin)
        token = _outbox.set(outbox)
        try:
            yield outbox
        finally:
            outbox.open = False
            _outbox.reset(token)

    async def flush(self, outbox: Outbox) -> None:
        """Publishes what was emitted, in order, then writes. Waits where NATS is away: the actor takes nothing new meanwhile.

        Raises Refused where JetStream will not have an event or a write at all.
        """
        outbox.open = False
        for place, (event, payload) in enumerate(outbox.events):
            while True:
                try:
                    await self._runtime.publish(event, payload, outbox.dedup(place))
                    break
                except Refused:
                    raise
                except Timeout as fault:
                    # The same id again: if it was stored after all, the repeat is dropped.
                    log.warning(
                        "emitted event could not be published; retrying until NATS is back",
                        extra={"actor": self.name, "fault": str(fault)},
                    )
        for write in outbox.writes:
            await self._write(write)

    async def _write(self, write: Callable[[], Awaitable[object]]) -> None:
        failures = 0
        while True:
            try:
                await write()
                return
            except Refused:
                raise
            except BrokerError as fault:
                failures += 1
                log.warning(
                    "state could not be written; retrying until NATS is back",
                    extra={"actor": self.name, "fault": str(fault)},
                )
                await self.sleep(full_jitter(failures, 0.1, 2.0))

    def _child(self, running: Coroutine[Any, Any, None], name: str) -> None:
        if self._group is None:
            running.close()
            raise NotNow(f"{self.name} starts a source in start, receive, tick or a command")
        task = self._group.create_task(running, name=f"{self.name}: {name}")
        self._children.append(task)
        task.add_done_callback(self._children.remove)
