"""Reading several shards, and a chain of generations, as a property: whatever the interleaving, every reader has all of its events
once, those of each shard in their order, and every cursor that it was given covers just what it has had.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.hub.hub import Hub
from edge.hub.reader import Reader, open_reader
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Batch, State
from edge.view import View
from router import live
from router.cursor import Start, parse_cursor
from router.layout import generation
from router.place import Gap
from router.position import Position, of_one
from router.record import Record
from router.subject import matches
from tests.edge.hub.sharded_store import ShardedStore
from tests.waiting import PATIENCE, eventually

Key = tuple[int, int, int]


def key(record: Record) -> Key:
    return record.shard.generation, record.shard.index, record.sequence


@dataclass
class Connection:
    """What one connection brought: from where, which events, and the last cursor that its client was given."""

    start: Position
    seen: list[Record] = field(default_factory=list)
    cursor: str = ""
    sent_back: bool = False

    def check(self, store: ShardedStore, patterns: tuple[str, ...], complete: bool) -> None:
        seen = [key(record) for record in self.seen]
        assert len(set(seen)) == len(seen), "twice"
        for shard in {record.shard.stream for record in self.seen}:
            of = [record.sequence for record in self.seen if record.shard.stream == shard]
            assert of == sorted(of), "out of order"
        generations = [record.shard.generation for record in self.seen]
        assert generations == sorted(generations), "a later generation before an earlier one"
        wanted = [
            record
            for record in store.stored()
            if not self.start.covers(record) and any(matches(pattern, record.subject) for pattern in patterns)
        ]
        assert set(seen) <= {key(record) for record in wanted}, "not asked for"
        if complete:
            assert set(seen) == {key(record) for record in wanted}, "missing"
        elif self.cursor:
            upto = store.position(self.cursor)
            lost = {key(record) for record in wanted if upto.covers(record)} - set(seen)
            if not self.sent_back:
                # Who has left before the next look cannot have been told.
                lost = {each for each in lost if (_stream(each), each[2]) not in store.silent}
            assert not lost, "missing behind a cursor"


def _stream(place: Key) -> str:
    return f"EVENTS_{place[0]}_{place[1]}" if place[0] else "EVENTS"


class Client:
    """One client, whose socket takes as many writes as the script allows; it comes back where it is told to."""

    def __init__(self, hub: Hub, store: ShardedStore, patterns: tuple[str, ...], start: str) -> None:
        self.view = View.of("sess_x", list(patterns), None, None)
        self.connections = [Connection(store.position(start), cursor=start)]
        self.may_write = asyncio.Semaphore(0)
        self.stats = Stats()
        self.reader: Reader | None = None
        self._hub, self._store = hub, store

    @property
    def progress(self) -> object:
        return [len(connection.seen) for connection in self.connections]

    async def run(self) -> None:
        while await self._connected(self.connections[-1]):
            pass

    async def _connected(self, now: Connection) -> bool:
        async with open_reader(self._hub, self.view, "sess_x", self.stats, kind=Reader) as reader:
            self.reader = reader
            async for step in reader.read(Start(cursor=parse_cursor(now.cursor))):
                await self.may_write.acquire()
                if isinstance(step, Batch):
                    for record in step.records:
                        now.seen.append(record)
                        now.cursor = record.cursor(step.epoch)
                        assert self._store.position(now.cursor) == record.position
                    continue
                assert step.control != "gap", step
                if "cursor" in step.body:
                    now.cursor = step.body["cursor"]
                if step.control == "bye":
                    assert step.body["reason"] == "events_missed", f"cut off: {step}"
                    now.sent_back = True
                    self.connections.append(Connection(self._store.position(now.cursor), cursor=now.cursor))
        return now.sent_back


SUBJECTS = st.sampled_from(["job.a.x", "job.b.x", "cam.a.y", "cam.c.y", "job.d.x"])
PATTERNS = st.sampled_from([("job.>",), (">",), ("job.a.>", "cam.>"), ("job.a.x",), ("cam.c.>", "job.*.x")])
STEPS = st.one_of(
    *[st.tuples(st.just("publish"), SUBJECTS)] * 3,
    st.tuples(st.just("deliver"), st.integers(1, 6)),
    st.tuples(st.just("drop"), st.integers(0, 6)),
    st.tuples(st.just("swap"), st.integers(0, 6)),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 6)),
    st.tuples(st.just("turn"), st.integers(10, 60)),
    st.tuples(st.just("connect"), st.tuples(PATTERNS, st.lists(st.integers(0, 20), min_size=5, max_size=5))),
    st.tuples(st.just("again"), st.tuples(PATTERNS, st.integers(0, 5))),
    st.tuples(st.just("write"), st.tuples(st.integers(0, 5), st.integers(1, 5))),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("regain"), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("beat"), st.none()),
)  # fmt: skip
CHAIN = st.one_of(STEPS, STEPS, STEPS, st.tuples(st.just("reshard"), st.tuples(st.integers(1, 4), st.booleans())))

LIVE_ALL = [("connect", ((">",), [0] * 5)), ("turn", 60)]
WRITES = [step for index in range(3) for step in (("write", (index, 5)), ("turn", 30))] * 2
# A reader reads from the store what this process receives later, and in between comes something of another shard.
AHEAD = [
    *[("publish", subject) for subject in ("job.a.x", "job.b.x", "cam.a.y") for _ in range(2)],
    *LIVE_ALL,
    *[("publish", "job.a.x"), ("publish", "job.a.x")],
    *WRITES,
    *[("publish", subject) for subject in ("job.b.x", "job.b.x", "job.a.x", "cam.a.y")],
    ("swap", 2),
    *[step for _ in range(6) for step in (("deliver", 1), ("turn", 6), *WRITES)],
]
# Only counting finds what was missed, and the reader was led past it by an event of the same shard.
PASSED = [
    *LIVE_ALL,
    ("publish", "job.b.x"),
    ("drop", 0),
    *[("publish", subject) for subject in ("job.d.x", "job.a.x", "cam.a.y")],
    ("deliver", 6),
    ("turn", 6),
    *WRITES,
]


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(STEPS, min_size=15, max_size=80), st.integers(1, 4), st.integers(2, 6))
@example(AHEAD, 3, 6)
@example(PASSED, 3, 6)
def test_every_reader_of_three_shards_has_all_of_its_events(
    steps: list[tuple[str, Any]], page: int, mailbox: int
) -> None:
    run(ShardedStore(generation(1, 3), page), steps, mailbox)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(CHAIN, min_size=15, max_size=80), st.integers(1, 4), st.integers(2, 6))
@example([*LIVE_ALL, ("publish", "job.a.x"), ("reshard", (3, False)), ("publish", "job.a.x"), ("deliver", 6)], 3, 6)
@example([("publish", "job.a.x"), *LIVE_ALL, ("reshard", (2, True)), ("turn", 60), ("reshard", (4, True))], 3, 6)
def test_every_reader_has_all_of_its_events_across_layouts(
    steps: list[tuple[str, Any]], page: int, mailbox: int
) -> None:
    run(ShardedStore(generation(0), page), steps, mailbox)


def run(store: ShardedStore, steps: list[tuple[str, Any]], mailbox: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "COUNT_PAUSES", (0.0,))
        patch.setattr("edge.hub.hub.MAX_REST", 0.0)
        asyncio.run(_scenario(store, steps, mailbox))


async def _scenario(store: ShardedStore, steps: list[tuple[str, Any]], mailbox: int) -> None:
    hub = Hub(store, SessionSettings(mailbox_events=mailbox, heartbeat=3600, store_patience=3600))  # type: ignore[arg-type]
    clients: list[tuple[Client, asyncio.Task[None]]] = []
    everyone: list[Client] = []

    def connect(patterns: tuple[str, ...], cursor: str) -> None:
        client = Client(hub, store, patterns, cursor)
        everyone.append(client)
        clients.append((client, asyncio.ensure_future(client.run())))

    running = asyncio.ensure_future(hub.run())
    try:
        for step, value in steps:
            match step:
                case "publish":
                    store.publish(value)
                case "deliver":
                    store.deliver(value)
                case "drop":
                    store.drop(value)
                case "swap":
                    store.swap(value)
                case "look":
                    await hub.integrity.check_position()
                case "turn":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "connect":
                    patterns, parts = value
                    connect(patterns, str(store.cursor(parts)))
                case "again" if everyone:
                    # From where another one is.
                    patterns, index = value
                    connect(patterns, everyone[index % len(everyone)].connections[-1].cursor)
                case "write" if clients:
                    index, count = value
                    for _ in range(count):
                        clients[index % len(clients)][0].may_write.release()
                case "lose":
                    store.lose()
                case "regain":
                    store.regain()
                case "leave" if clients:
                    client, task = clients.pop(value % len(clients))
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                case "beat":
                    hub.flush()
                    for reader in hub.readers:
                        reader.beat()
                case "reshard" if len(store.layout.generations) < 4:
                    store.reshard(*value)
        store.regain()
        await _settle(store, hub, clients)
        for client in everyone:
            there = any(client is each for each, _ in clients)
            for connection in client.connections:
                connection.check(store, client.view.patterns, complete=there and connection is client.connections[-1])
            assert client.stats.sent == client.stats.delivered + client.stats.queued
    finally:
        for _, task in clients:
            task.cancel()
        running.cancel()
        await asyncio.gather(running, *(task for _, task in clients), return_exceptions=True)


async def _settle(store: ShardedStore, hub: Hub, clients: list[tuple[Client, asyncio.Task[None]]]) -> None:
    quiet, before = 0, None
    async with asyncio.timeout(PATIENCE):
        while quiet < 60 or not hub.integrity.is_steady:
            store.deliver(1000)
            for client, task in clients:
                if task.done():
                    task.result()
                client.may_write.release()
            alive = all(client.reader and client.reader.state is State.LIVE for client, _ in clients)
            await asyncio.sleep(0 if hub.integrity.is_steady and alive else 0.01)
            now: object = [client.progress for client, _ in clients]
            quiet, before = (quiet + 1 if now == before and alive else 0), now
            if quiet in (20, 40):
                # The second look finds whatever did not arrive before the first.
                await hub.integrity.check_position()


class BusyStore(ShardedStore):
    """A store in which an event is stored and copied with each answer."""

    async def answered(self) -> None:
        await super().answered()
        self.publish("job.a.x")
        self.deliver(1)


async def test_a_new_layout_is_taken_over_while_its_events_come_all_the_time() -> None:
    store = BusyStore(generation(0))
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(PATIENCE)
        await hub.join(View.of("sess_x", [">"], None, None))
        store.reshard(3, tell=False)
        store.publish("job.a.x")
        store.deliver(1)
        assert not hub.integrity.is_steady

        for _ in range(200):
            await asyncio.sleep(0)

        assert hub.integrity.is_steady
        assert hub.integrity.layout.current.number == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_received_while_the_streams_are_asked_is_not_taken_for_what_they_have_lost() -> None:
    class Store(ShardedStore):
        """Each answer takes so long that an event is stored, received and told of meanwhile in every shard."""

        async def answered(self) -> None:
            await super().answered()
            for subject in ("job.a.x", "job.b.x", "cam.a.y"):
                self.publish(subject)
            self.deliver(3)
            if hub.integrity.is_steady:
                hub.recovery.cursor(hub.position)

    store = Store(generation(1, 3))
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(PATIENCE)
        await hub.join(View.of("sess_x", [">"], None, None))
        renewals = hub.integrity.renewals
        for _ in range(5):
            store.publish("job.a.x")
            store.deliver(1)
            await hub.integrity.check_position()

        assert hub.integrity.renewals == renewals
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_generation_that_is_deleted_is_a_gap_for_those_alone_who_had_not_read_it() -> None:
    store = ShardedStore(generation(0))
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(PATIENCE)
        for _ in range(3):
            store.publish("job.a.x")
        former = hub.epoch
        store.reshard(2, tell=True)
        await eventually(lambda: hub.integrity.is_steady and hub.integrity.layout.current.number == 1)
        store.drop_old()
        await eventually(lambda: hub.integrity.is_steady and len(hub.integrity.layout.generations) == 1)

        begin = Position(1, (0, 0))
        assert hub.recovery.moved(of_one(3), hub.epoch) == (begin, None)
        assert hub.recovery.moved(of_one(1), hub.epoch) == (begin, Gap(of_one(2), of_one(3), reset=False))
        assert hub.recovery.cursor(of_one(3)).startswith(f"1-{former}-000000000003")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
