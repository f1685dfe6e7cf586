"""Defines what a context needs of the world around an actor, and implements it on NATS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from actors.system.metrics import Gauges
from actors.system.packets import PacketQueue
from actors.system.state import PresenceKeeper
from router.broker import Broker
from router.cluster.leases import Viewers, watch
from router.codec import decode
from router.errors import BadEvent, BrokerError, Refused
from router.event import Event
from router.frame import MAX_BODY, in_parts
from router.last_event import last_event
from router.timing import full_jitter

log = logging.getLogger(__name__)

T = TypeVar("T")

# Kinds of events that are counted one by one: more than any actor publishes that does not make types up.
MAX_KINDS = 64
# Parts of a picture that are sent before the server has answered that it read them: at most 32 MiB of 8 MiB each.
PARTS_AHEAD = 4


class Runtime(Protocol):
    """What an actor runs on: NATS, or a Probe."""

    async def publish(self, event: Event, payload: bytes, dedup: str | None = None, ttl: float | None = None) -> None:
        """Stores an event; the payload is its encoding, `dedup` its name for duplicate detection. Raises BrokerError.

        With a `ttl` (seconds, at least one) the store forgets it after that time.
        """
        ...

    def frame(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Sends a picture to a subject of FRAMES, without waiting; False where an earlier one was never sent."""
        ...

    def packet(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Sends a packet in order, without waiting; False where some were lost."""
        ...

    async def latest(self, patterns: Sequence[str]) -> list[Event]:
        """Reads the newest event of each subject."""
        ...

    async def last(self, subject: str) -> Event | None:
        """Reads the newest event of one subject."""
        ...

    async def kept(self, name: str) -> dict[str, Any] | None:
        """What the actor keeps over restarts."""
        ...

    async def keep(self, name: str, kept: Mapping[str, Any]) -> None:
        """Keeps it. Raises BrokerError."""
        ...

    def horizon(self) -> int | None:
        """Up to when (ns) all stored events have been handled; None where none waits."""
        ...

    def viewers(self, domain: str, entity: str) -> Viewers:
        """Makes a count of the viewers."""
        ...

    async def count(self, viewers: Viewers) -> None:
        """Keeps that count up to date until cancelled."""
        ...


class BrokerRuntime:
    """The runtime of an actor that runs on NATS."""

    def __init__(self, broker: Broker, gauges: Gauges, keeper: PresenceKeeper | None = None) -> None:
        """A `keeper` writes the states that the actor publishes; without one the actor can keep nothing."""
        self.broker = broker
        self._keeper = keeper
        self._gauges = gauges
        # Events that were published, by `<domain>.<type>`.
        self.published: dict[str, int] = {}
        self.horizon: Callable[[], int | None] = lambda: None
        # One picture a track: whatever comes while one is on its way replaces what waits.
        self._frames: dict[str, tuple[Mapping[str, Any], bytes]] = {}
        # Subjects whose last picture could not be sent.
        self._lost: set[str] = set()
        # Subjects whose last picture was too large for any number of parts.
        self._refused: set[str] = set()
        self._packets: dict[str, PacketQueue] = {}
        self._waiting = asyncio.Event()

    async def publish(self, event: Event, payload: bytes, dedup: str | None = None, ttl: float | None = None) -> None:
        headers = None if ttl is None else {"Nats-TTL": f"{max(1, round(ttl))}s"}
        await self.broker.put(event, payload, dedup=dedup, headers=headers)
        self._gauges.emitted.inc()
        self._count(f"{event.subject.domain}.{event.type}")
        if self._keeper is not None:
            self._keeper.note(event)

    def _count(self, kind: str) -> None:
        if kind in self.published or len(self.published) < MAX_KINDS:
            self.published[kind] = self.published.get(kind, 0) + 1

    async def kept(self, name: str) -> dict[str, Any] | None:
        keeper = self._keeper
        return None if keeper is None else await _read(lambda: keeper.kept(name))

    async def keep(self, name: str, kept: Mapping[str, Any]) -> None:
        if self._keeper is not None:
            await self._keeper.keep(name, kept)

    def frame(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        replaced = subject in self._frames
        if replaced:
            self._gauges.frames_passed_over.inc()
        self._frames[subject] = (header, body)
        self._waiting.set()
        lost = subject in self._lost
        self._lost.discard(subject)
        return not (replaced or lost)

    def packet(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        queue = self._packets.setdefault(subject, PacketQueue())
        lost = queue.put(header, body)
        if lost:
            self._gauges.packets_lost.inc(lost)
        self._waiting.set()
        return lost is None

    async def send_frames(self) -> None:
        """Sends pictures as fast as the server reads them, until cancelled."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await self._send_packets()
            frames, self._frames = self._frames, {}
            for subject, (header, body) in frames.items():
                if await self._send(subject, header, body):
                    self._gauges.frames_sent.inc()
                else:
                    self._gauges.frames_passed_over.inc()
                    self._lost.add(subject)
            # The server's answer to a ping says that it has read them: until then newer ones replace one another here,
            # instead of piling up in the client's buffer.
            try:
                await self.broker.connection.flush()
            except BrokerError as fault:
                log.debug("pictures could not be flushed; retrying with the next", extra={"fault": str(fault)})

    async def _send_packets(self) -> None:
        for subject, queue in list(self._packets.items()):
            while (packet := queue.take()) is not None:
                if await self._send(subject, *packet):
                    self._gauges.packets_sent.inc()
                else:
                    self._gauges.packets_lost.inc(1 + queue.lose())

    async def _send(self, subject: str, header: Mapping[str, Any], body: bytes) -> bool:
        """Sends one picture, in parts where it is larger than a message; False where not all of it was sent."""
        messages = await self._messages(subject, header, body)
        if not messages:
            self._refuse(subject, len(body))
            return False
        self._refused.discard(subject)
        for place, (each, frame) in enumerate(messages):
            if not await self.broker.frame(each, frame):
                return False
            if place % PARTS_AHEAD == PARTS_AHEAD - 1 and len(messages) > PARTS_AHEAD:
                # Else tens of megabytes wait at the server, which cuts off an edge that reads more slowly than this.
                with contextlib.suppress(BrokerError):
                    await self.broker.connection.flush()
        return True

    def _refuse(self, subject: str, size: int) -> None:
        """Says once that pictures of a subject are too large."""
        if subject not in self._refused:
            self._refused.add(subject)
            log.warning(
                "a picture is too large to be sent; it and those as large as it are dropped",
                extra={"subject": subject, "bytes": size, "most": MAX_BODY},
            )

    async def _messages(self, subject: str, header: Mapping[str, Any], body: bytes) -> list[tuple[str, bytes]]:
        """The messages of one picture."""
        most = self.broker.connection.max_payload
        if len(body) < most:
            return in_parts(subject, header, body, most)
        # Megabytes to copy, tens of them at times.
        return await asyncio.to_thread(in_parts, subject, header, body, most)

    async def latest(self, patterns: Sequence[str]) -> list[Event]:
        records = await _read(lambda: self.broker.latest(patterns))
        return [event for record in records if (event := record.event) is not None]

    async def last(self, subject: str) -> Event | None:
        found = await _read(lambda: last_event(self.broker, subject))
        if found.ack is None:
            return None
        try:
            return decode(found.payload)
        except BadEvent as fault:
            log.warning("stored event cannot be decoded", extra={"subject": subject, "fault": str(fault)})
            return None

    def viewers(self, domain: str, entity: str) -> Viewers:
        return Viewers(domain, entity)

    async def count(self, viewers: Viewers) -> None:
        await watch(viewers, self.broker.connection)


async def _read(read: Callable[[], Awaitable[T]]) -> T:
    """Reads from the store; where that is away, as soon as it is back. Raises Refused."""
    failures = 0
    while True:
        try:
            return await read()
        except Refused:
            raise
        except BrokerError as fault:
            # An unreachable NATS is no error of the actor; its `start` has a time limit anyway.
            failures += 1
            log.debug("stored events could not be read; retrying", extra={"fault": str(fault)})
            await asyncio.sleep(full_jitter(failures, 0.1, 2.0))
