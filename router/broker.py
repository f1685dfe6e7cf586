"""Publishes events to JetStream and reads them: from a sequence on, or the newest of each subject."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self

from router import provisioning, topology
from router.codec import encode
from router.dedup import of_event
from router.earlier_ids import EarlierIds
from router.errors import BrokerError, Conflict, Cut, Forbidden, NoResponders, Refused, Timeout, TooLarge, Unsuitable
from router.event import Event
from router.event_place import PlaceNumber, place_in
from router.events_state import EventsState, StreamState
from router.layout import ORIGINAL, Generation, Layout, Shard
from router.layouts import Layouts
from router.limits import largest_event
from router.nats.connection import Connection
from router.nats.error_codes import ErrorCode
from router.nats.headers import Reply
from router.nats.publisher import Publisher, read_answer
from router.nats.refusals import Fate, fate
from router.nats.request import CallbackRequest
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack, Stream, read_ack
from router.position import BEYOND, Position
from router.publication import Publication
from router.record import Record, age
from router.shard_store import PAGE_EVENTS, Page, ShardStore
from router.topology import TopologySettings

__all__ = ["PAGE_EVENTS", "Broker", "Page", "StreamState"]

# So often the connection may be lost under one message before that is taken for the message's doing.
MAX_CUTS = 5
# So long an answer is waited for before a message is sent again.
TRY_SECONDS = 3.0
# How long streams are asked for that do not answer when a process starts: a cluster may be electing their leaders.
SETTLE_SECONDS = 15.0


class Broker:
    """The seam to NATS for everything that deals in events."""

    def __init__(self, settings: BrokerSettings, name: str, topology: TopologySettings | None = None) -> None:
        self.connection = Connection(settings, name)
        self._shards: dict[str, ShardStore] = {}
        self._publisher: Publisher | None = None
        self.topology = topology or TopologySettings()
        # Which streams hold the events, and what those that held them before may be asked for.
        self.layouts = Layouts(self.connection)
        self.earlier = EarlierIds(self.connection, self.layouts, self.topology.dedup_window)
        # Publishes left unanswered since the last one that was answered, by stream; and a callback for each.
        self.unanswered: dict[str, int] = {}
        self.on_unanswered: Callable[[], None] | None = None
        # The subject that was acknowledged last, by stream.
        self.acknowledged: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self, *, apply: bool = True) -> None:
        """Connects and, where asked, makes the streams, or looks that they are there; raises Unreachable or Unsuitable."""
        await self.connection.open()
        try:
            await self.layouts.follow(notices=apply)
            if apply:
                await self._settle()
        except BaseException:
            await self.connection.close()
            raise
        if apply:
            # The memory stream is gone after a server's restart; the first process that comes back makes it again.
            self.connection.on_reconnect(self._reapply)

    @property
    def layout(self) -> Layout:
        """Which streams hold the events now."""
        return self.layouts.current

    def on_layout(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener where the events go to other streams from now on; returns a function that removes it."""
        return self.layouts.on_change(listener)

    async def _settle(self) -> None:
        if self.topology.apply_streams:
            await self._apply()
        elif lacking := await provisioning.missing(self.connection, self.topology, self.layout):
            raise Unsuitable(f"streams are missing: {', '.join(lacking)}; `callboard streams apply` makes them")

    async def _apply(self) -> None:
        # From its leader: after a reshard the stream of the first generation must not be made again.
        await self.layouts.read_leader(SETTLE_SECONDS)
        await provisioning.apply(self.connection, self.topology, self.layout, SETTLE_SECONDS)

    async def _reapply(self) -> None:
        if self.topology.apply_streams:
            await self._apply()
        else:
            await provisioning.restore(self.connection, self.topology)

    async def close(self) -> None:
        await self.connection.close()

    @property
    def publisher(self) -> Publisher:
        """Publishes many messages beside one another; all who use this broker share it."""
        if self._publisher is None:
            self._publisher = Publisher(self.connection)
        return self._publisher

    async def publish(
        self,
        event: Event,
        timeout: float = 10.0,
        *,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Ack:
        """Stores an event; returns once JetStream has acknowledged it.

        Tries again under the same name until `timeout` seconds are over: inside the dedup window a repeat is dropped. The
        name is `dedup` (see `router.dedup`), or follows from the event's source, subject and id. `headers` are stored with
        the event. Raises Timeout (whether it was stored is unknown) or Refused (it was not).
        """
        return await self.put(event, encode(event), timeout, dedup=dedup, headers=headers)

    @property
    def largest_event(self) -> int:
        """The most bytes an event may have as msgpack, on the server that is connected now."""
        return largest_event(self.connection.max_payload)

    async def put(
        self,
        event: Event,
        payload: bytes,
        timeout: float = 10.0,
        *,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
        await_right: bool = True,
        generation: int | None = None,
        is_new: bool = False,
    ) -> Ack:
        """Stores an event that is encoded already; as `publish`. Raises TooLarge for more than `largest_event`.

        Without `await_right` it raises Forbidden at once where NATS does not allow the subject. `generation` is that in which
        a last sequence was read that `headers` expect: Conflict is raised where it takes no more events. `is_new`: nobody has
        published it before, nor will again.
        """
        if len(payload) > (limit := self.largest_event):
            raise TooLarge(len(payload), limit, "the event")
        publication = Publication(event)
        try:
            lines = {"Nats-Msg-Id": dedup or of_event(event), **(headers or {})}
            ack = await self.store_event(
                event.subject, payload, lines, timeout, await_right=await_right, generation=generation, is_new=is_new
            )
        except (Refused, Timeout) as fault:
            publication.failed(fault)
            raise
        publication.stored(ack)
        return ack

    def put_now(
        self,
        event: Event,
        payload: bytes,
        dedup: str,
        headers: Mapping[str, str],
        settle: Callable[[Ack | None], None],
    ) -> CallbackRequest | None:
        """Sends an event as `put` does first, where nothing must be waited for; None where something must, and nothing was sent.

        `settle` is called once, from the read loop or a timer: with the acknowledgement of an event that is stored by this, or
        with None for all else (a repeat, a refusal, no answer). Then `put` is to be called, which does what is to be done.
        """
        if self.earlier.active or len(payload) > self.largest_event or not self.connection.up.is_set():
            return None
        publication = Publication(event)
        shard = self.layouts.current.shard_of(event.subject)
        subject, stream = shard.stored(event.subject), shard.stream

        def answered(outcome: Reply | BrokerError) -> None:
            answer = read_answer(outcome.payload) if isinstance(outcome, Reply) else outcome
            if isinstance(answer, Ack):
                self.unanswered.pop(stream, None)
                self.acknowledged[stream] = subject
                if not answer.duplicate:
                    publication.stored(answer)
                    settle(answer)
                    return
            elif isinstance(answer, (Timeout, NoResponders)) and not isinstance(answer, Forbidden):
                self.count_unanswered(stream)
            settle(None)

        return self.connection.ask_now(subject, payload, {"Nats-Msg-Id": dedup, **headers}, answered, TRY_SECONDS)

    async def store_event(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str],
        timeout: float = 10.0,
        *,
        await_right: bool = True,
        generation: int | None = None,
        is_new: bool = False,
    ) -> Ack:
        """Stores bytes under an event's subject, as `store`; again in the next generation where its stream is sealed meanwhile.

        `headers` have a `Nats-Msg-Id`. The rest is as in `put`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            shard = self.layouts.current.shard_of(subject)
            if generation is not None and shard.generation != generation:
                raise Conflict(400, ErrorCode.STREAM_SEALED, "the events go to other streams now")
            if (
                self.earlier.active
                and not is_new
                and (known := await self.earlier.find(subject, headers["Nats-Msg-Id"]))
            ):
                return known
            try:
                left = max(0.05, deadline - loop.time())
                return await self.store(shard.stored(subject), payload, headers, left, await_right)
            except Refused as refusal:
                if refusal.err_code != ErrorCode.STREAM_SEALED:
                    raise
            # An attempt before the refused one may have been stored without an answer.
            is_new = False
            await self.layouts.after(shard.generation, max(0.05, deadline - loop.time()))

    async def store(
        self, subject: str, payload: bytes, headers: dict[str, str], timeout: float = 10.0, await_right: bool = True
    ) -> Ack:
        """Publishes bytes to whichever stream takes the subject, with retries under the same `Nats-Msg-Id`.

        Raises Refused where it is not stored (`router.nats.refusals`), and Timeout where that is unknown: Cut where the connection
        is lost each time, and another try would do the same. A right that is missing may be given within `timeout`; without
        `await_right` Forbidden is raised at once. Raises Conflict where `headers` name another last sequence of the subject than
        it has: of a repeat too, which is known for one only under the right sequence.
        """
        regained = self.connection.reconnects
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = 0.05
        while True:
            left = deadline - loop.time()
            try:
                if not self.connection.up.is_set():
                    async with asyncio.timeout(max(left, 0.01)):
                        await self.connection.up.wait()
                reply = await self.connection.ask(subject, payload, headers, timeout=max(0.05, min(left, TRY_SECONDS)))
                ack = read_ack(reply.payload)
                stream = topology.stream_of(subject)
                self.unanswered.pop(stream, None)
                self.acknowledged[stream] = subject
                return ack
            except Refused as refusal:
                if fate(refusal) in (Fate.REFUSED, Fate.FULL):
                    raise
                if loop.time() + pause > deadline:
                    raise Timeout(
                        f"{subject} was not acknowledged within {timeout:g} s: {refusal.description}"
                    ) from None
            except Forbidden:
                if not await_right or loop.time() + pause > deadline:
                    raise
            except (Timeout, NoResponders, TimeoutError):
                self.count_unanswered(topology.stream_of(subject))
                if self.connection.reconnects - regained >= MAX_CUTS:
                    raise Cut(f"the connection was lost {MAX_CUTS} times while {subject} was sent") from None
                if loop.time() + pause > deadline:
                    raise Timeout(f"{subject} was not acknowledged within {timeout:g} s") from None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)

    def count_unanswered(self, stream: str) -> None:
        """Notes a publish that was not acknowledged though NATS is there."""
        if self.connection.connected:
            self.unanswered[stream] = self.unanswered.get(stream, 0) + 1
            if self.on_unanswered is not None:
                self.on_unanswered()

    async def frame(self, subject: str, frame: bytes) -> bool:
        """Sends one picture without an acknowledgement; False where NATS is away or the picture is too large."""
        if not self.connection.connected or len(frame) > self.connection.max_payload:
            return False
        try:
            await self.connection.send(subject, frame)
        except BrokerError:
            return False
        return True

    def stream(self, name: str) -> Stream:
        """One of the streams on this connection."""
        return Stream(self.connection, name)

    def shard(self, shard: Shard) -> ShardStore:
        """The stored events of one shard."""
        known = self._shards.get(shard.stream)
        if known is None:
            known = self._shards[shard.stream] = ShardStore(self.connection, shard, self.topology.replicas)
        return known

    async def events_state(self) -> EventsState:
        """Reads how far all shards reach, from the leaders of their streams; those of a generation that was deleted are left out."""
        generations: list[Generation] = []
        begins: list[Position] = []
        lasts: list[Position] = []
        is_led = True
        layout = self.layout
        for generation in layout.generations:
            try:
                states = await asyncio.gather(*(self.shard(shard).state() for shard in generation.shards))
            except Refused as refusal:
                if generation is layout.current or refusal.code != 404:
                    raise
                continue
            generations.append(generation.with_epochs([state.epoch for state in states]))
            begins.append(Position(generation.number, tuple(max(state.first - 1, 0) for state in states)))
            lasts.append(Position(generation.number, tuple(state.last for state in states)))
            is_led = is_led and all(state.is_led for state in states)
        return EventsState(Layout(tuple(generations)), tuple(begins), tuple(lasts), is_led)

    async def state(self) -> StreamState:
        """Reads how far the stream of generation 0 reaches, from its leader."""
        return await self.shard(ORIGINAL).state()

    async def read(
        self, pattern: str, after: int, limit: int = PAGE_EVENTS, since: datetime | None = None, upto: int = 0
    ) -> Page:
        """Reads events of generation 0 under one pattern, as `ShardStore.read`."""
        return await self.shard(ORIGINAL).read(pattern, after, limit, since, upto)

    async def count(self, pattern: str, after: int) -> int:
        """Counts the events of generation 0 under one pattern, as `ShardStore.count`."""
        return await self.shard(ORIGINAL).count(pattern, after)

    async def last_place(self, subject: str) -> PlaceNumber:
        """Reads how far the shard reaches that takes a subject."""
        shard = self.layout.shard_of(subject)
        return place_in(shard, (await self.shard(shard).state()).last)

    async def latest(self, patterns: Sequence[str], upto: Position | None = None) -> list[Record]:
        """Reads the newest event of every subject under the patterns, the oldest first; with `upto` as of that position."""
        newest: dict[str, Record] = {}
        for generation in reversed(self.layout.generations):
            found: dict[str, Record] = {}
            for shard in generation.shards_of(patterns):
                if upto is None or upto.of(shard):
                    last = None if upto is None or upto.of(shard) >= BEYOND else upto.of(shard)
                    async for page in self.shard(shard).latest_pages(patterns, last):
                        found |= {record.subject: record for record in page}
            newest = found | newest
        return sorted(newest.values(), key=age)

    async def last_frame(self, subject: str) -> bytes | None:
        """Reads the latest picture of a track; None where there is none."""
        try:
            reply = await self.stream(topology.FRAMES).read_one({"last_by_subj": subject}, timeout=2)
        except BrokerError:
            return None
        return None if reply is None else reply.payload

    async def frame_subjects(self, pattern: str = "frame.>") -> list[str]:
        """Lists the tracks that have a recent picture."""
        return sorted((await self.stream(topology.FRAMES).subjects(pattern)).subjects)
