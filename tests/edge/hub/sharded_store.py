"""Several shards and generations of EVENTS that store at once and bring live copies when a test says so."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from router.codec import encode
from router.cursor import Cursor, VectorCursor, epoch_of, parse_cursor
from router.errors import Refused, Timeout
from router.event import Event
from router.events_state import EventsState, StreamState
from router.layout import Generation, Layout, Shard, generation
from router.position import Position
from router.record import Record
from router.shard_store import Page
from router.subject import LIVE, matches


@dataclass
class ScriptedShard:
    """One stream."""

    store: ShardedStore
    shard: Shard
    events: list[tuple[str, bytes]] = field(default_factory=list)
    last_of: dict[str, int] = field(default_factory=dict)

    def record(self, sequence: int, previous: int = 0) -> Record:
        subject, payload = self.events[sequence - 1]
        return Record(sequence, subject, payload, previous, shard=self.shard)

    async def state(self) -> StreamState:
        await self.store.answered()
        epoch = epoch_of(self.shard.stream, "2026-11-27T00:00:00Z")
        return StreamState(epoch, 1, len(self.events), len(self.events), 0)

    async def count(self, pattern: str, after: int) -> int:
        await self.store.answered()
        return sum(matches(pattern, subject) for subject, _ in self.events[after:])

    async def read(
        self, pattern: str, after: int, limit: int = 0, since: object = None, upto: int | None = None
    ) -> Page:
        await self.store.answered()
        # Half of them ask a copy that has no more than who asks knows of.
        end = min(upto or len(self.events), len(self.events)) if self.store.page % 2 else len(self.events)
        places = range(after + 1, end + 1)
        found = [self.record(place) for place in places if matches(pattern, self.events[place - 1][0])]
        await asyncio.sleep(0)
        return Page(found[: self.store.page], len(found) > self.store.page)


class ShardedListening:
    """One subscription to live copies."""

    def __init__(self, store: ShardedStore, pattern: str, receive: Callable[[str, str, bytes, bytes], None]) -> None:
        self.store, self.pattern, self.receive = store, pattern, receive

    def bring(self, record: Record) -> None:
        headers = (
            f"NATS/1.0\r\nNats-Stream: {record.shard.stream}\r\nNats-Sequence: {record.sequence}\r\n"
            f"Nats-Last-Sequence: {record.previous}\r\n\r\n"
        )
        self.receive(LIVE + record.subject, "", record.payload, headers.encode())

    async def stop(self) -> None:
        self.store.listeners.remove(self)


class ShardedStore:
    """A broker and its connection, as far as a hub goes."""

    def __init__(self, first: Generation, page: int = 3) -> None:
        self.page = page
        self.layout = Layout((first,))
        self.connection = self
        self.connected = True
        self.shards = {shard.stream: ScriptedShard(self, shard) for shard in first.shards}
        self.listeners: list[ShardedListening] = []
        self.travelling: list[tuple[ShardedListening, Record]] = []
        # Events of which a copy did not arrive in time, without anybody noticing: only a look at the store finds them.
        self.silent: set[tuple[str, int]] = set()
        self.on_lost: list[Callable[[], None]] = []
        self.on_regained: list[Callable[[], Any]] = []
        self.on_layouts: list[Callable[[], None]] = []

    # What a test does

    def publish(self, subject: str) -> None:
        stream = self.shards[self.layout.shard_of(subject).stream]
        sequence = len(stream.events) + 1
        stream.events.append((subject, encode(Event.new(subject, {"n": sequence}))))
        previous, stream.last_of[subject] = stream.last_of.get(subject, 0), sequence
        if self.connected:
            record = stream.record(sequence, previous)
            self.travelling += [(each, record) for each in self.listeners if matches(each.pattern, subject)]

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.travelling))):
            listening, record = self.travelling.pop(0)
            if listening in self.listeners:
                # Each subscription has a record of its own.
                copy = Record(record.sequence, record.subject, record.payload, record.previous, shard=record.shard)
                listening.bring(copy)

    def drop(self, place: int) -> None:
        """Loses one copy, as a cluster may, without anybody noticing."""
        if self.travelling:
            _, record = self.travelling.pop(place % len(self.travelling))
            self.silent.add((record.shard.stream, record.sequence))

    def swap(self, place: int) -> None:
        """Lets one copy arrive before those of other streams that were stored before it."""
        if self.travelling:
            moved = self.travelling.pop(place % len(self.travelling))
            at = next(
                (
                    at + 1
                    for at, (_, record) in reversed(
                        list(enumerate(self.travelling[: place % (len(self.travelling) + 1)]))
                    )
                    if record.shard == moved[1].shard
                ),
                0,
            )
            self.travelling.insert(at, moved)

    def lose(self) -> None:
        if self.connected:
            self.connected = False
            self.travelling.clear()
            for listener in self.on_lost:
                listener()

    def regain(self) -> None:
        if not self.connected:
            self.connected = True
            for listener in self.on_regained:
                listener()

    def reshard(self, count: int, tell: bool) -> None:
        """Seals the streams, and stores in new ones; whether processes are told, or find out by a copy from elsewhere."""
        current = self.layout.current
        ends = tuple(len(self.shards[shard.stream].events) for shard in current.shards)
        sealed = Generation(current.number, current.shards, ends)
        following = generation(current.number + 1, count)
        self.layout = Layout((*self.layout.generations[:-1], sealed, following))
        self.shards |= {shard.stream: ScriptedShard(self, shard) for shard in following.shards}
        if tell:
            for listener in self.on_layouts:
                listener()

    def drop_old(self) -> None:
        """Deletes the sealed generations."""
        self.layout = Layout((self.layout.current,))
        for listener in self.on_layouts:
            listener()

    # What is stored

    def stored(self) -> list[Record]:
        """All events, by generation and shard."""
        return [shard.record(n) for shard in self.shards.values() for n in range(1, len(shard.events) + 1)]

    def position(self, cursor: str) -> Position:
        """Where a cursor leads."""
        shards = {epoch_of(name, "2026-11-27T00:00:00Z"): each.shard for name, each in self.shards.items()}
        parts = parse_cursor(cursor).parts
        known = [shards[part.epoch] for part in parts]
        assert len({shard.generation for shard in known}) == 1
        assert [shard.index for shard in known] == list(range(known[0].count))
        return Position(known[0].generation, tuple(part.sequence for part in parts))

    def cursor(self, parts: list[int]) -> Cursor | VectorCursor:
        """A cursor of somewhere in the current generation."""
        made = [
            Cursor(epoch_of(shard.stream, "2026-11-27T00:00:00Z"), part % (len(self.shards[shard.stream].events) + 1))
            for shard, part in zip(self.layout.current.shards, parts, strict=False)
        ]
        return VectorCursor(tuple(made)) if self.layout.current.number else made[0]

    # What a hub asks

    async def answered(self) -> None:
        await asyncio.sleep(0)
        if not self.connected:
            raise Timeout("away")

    def shard(self, shard: Shard) -> ScriptedShard:
        return self.shards[shard.stream]

    async def events_state(self) -> EventsState:
        layout = self.layout
        generations = []
        begins, lasts = [], []
        for each in layout.generations:
            states = [await self.shards[shard.stream].state() for shard in each.shards]
            generations.append(each.with_epochs([state.epoch for state in states]))
            begins.append(Position(each.number, (0,) * len(states)))
            lasts.append(Position(each.number, tuple(state.last for state in states)))
        return EventsState(Layout(tuple(generations)), tuple(begins), tuple(lasts))

    def on_loss(self, listener: Callable[[], None]) -> None:
        self.on_lost.append(listener)

    def on_reconnect(self, listener: Callable[[], Any]) -> None:
        self.on_regained.append(listener)

    def on_layout(self, listener: Callable[[], None]) -> None:
        self.on_layouts.append(listener)

    async def flush(self) -> None:
        await asyncio.sleep(0)

    async def listen(self, subject: str, receive: Callable[[str, str, bytes, bytes], None]) -> ShardedListening:
        await asyncio.sleep(0)
        listening = ShardedListening(self, subject.removeprefix(LIVE), receive)
        self.listeners.append(listening)
        await asyncio.sleep(0)
        return listening

    async def api(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        await self.answered()
        stream = self.shards[subject.removeprefix("STREAM.MSG.GET.")]
        if not 1 <= request["seq"] <= len(stream.events):
            raise Refused(404, 10037, "no message found")
        payload = stream.events[request["seq"] - 1][1]
        return {"message": {"seq": request["seq"], "subject": "", "data": base64.b64encode(payload).decode()}}
