"""The hand-over from replay to live as a property: whatever the interleaving, each reader's record equals the stream's.

The store here is a named fake, because no real server can be told when each message shall arrive: it stores at once, and
delivers live copies, answers reads and loses connections exactly when the test says so. The hub and the readers are real.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.hub.hub import Hub
from edge.hub.reader import Reader, open_reader
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.types import Batch, Notice, State
from edge.view import View
from router import live
from router.broker import Page, StreamState
from router.codec import encode
from router.cursor import Cursor, Start
from router.errors import Refused, Timeout
from router.event import Event
from router.events_state import EventsState, of_stream
from router.layout import FIRST, Layout, Shard
from router.record import Record
from router.subject import LIVE as LIVE_PREFIX
from router.subject import matches
from tests.waiting import PATIENCE

EPOCH = "0badcafe"


class ScriptedConnection:
    """Up or down, as the script says."""

    def __init__(self) -> None:
        self.connected = True
        self.store: ScriptedStore | None = None
        self.on_lost: list[Callable[[], None]] = []
        self.on_regained: list[Callable[[], Any]] = []

    def on_loss(self, listener: Callable[[], None]) -> None:
        self.on_lost.append(listener)

    def on_reconnect(self, listener: Callable[[], Any]) -> None:
        self.on_regained.append(listener)

    async def flush(self) -> None:
        await asyncio.sleep(0)

    async def listen(self, subject: str, receive: Callable[[str, str, bytes, bytes], None]) -> ScriptedListening:
        assert self.store is not None
        await asyncio.sleep(0)
        listening = ScriptedListening(self.store, subject.removeprefix(LIVE_PREFIX), receive)
        self.store.listeners.append(listening)
        await asyncio.sleep(0)
        return listening

    async def api(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        """What the stream's leader holds at one sequence."""
        assert subject == "STREAM.MSG.GET.EVENTS"
        await asyncio.sleep(0)
        if not self.connected:
            raise Timeout
        payload = self.stored(request["seq"])
        if payload is None:
            raise Refused(404, 10037, "no message found")
        return {"message": {"seq": request["seq"], "subject": "ev.", "data": base64.b64encode(payload).decode()}}

    def stored(self, sequence: int) -> bytes | None:
        raise NotImplementedError  # a store's


@dataclass
class ScriptedListening:
    store: ScriptedStore
    pattern: str
    receive: Callable[[str, str, bytes, bytes], None]

    def bring(self, record: Record) -> None:
        headers = (
            f"NATS/1.0\r\nNats-Stream: EVENTS\r\nNats-Sequence: {record.sequence}\r\n"
            f"Nats-Last-Sequence: {record.previous}\r\n\r\n"
        )
        self.receive(LIVE_PREFIX + record.subject, "", record.payload, headers.encode())

    async def stop(self) -> None:
        self.store.listeners.remove(self)


@dataclass
class ScriptedStore:
    """A stream whose live copies travel only when told."""

    page: int = 3
    first: int = 1
    events: list[tuple[str, bytes]] = field(default_factory=list)
    listeners: list[ScriptedListening] = field(default_factory=list)
    travelling: list[tuple[ScriptedListening, Record]] = field(default_factory=list)
    last_of: dict[str, int] = field(default_factory=dict)
    # Events of which a copy did not arrive in time, without anybody noticing: only a look at the store finds them.
    silent: set[int] = field(default_factory=set)
    epoch: str = EPOCH
    layout: Layout = FIRST

    def __post_init__(self) -> None:
        self.connection = ScriptedConnection()
        self.connection.store = self
        self.connection.stored = self._stored  # type: ignore[method-assign]

    def _stored(self, sequence: int) -> bytes | None:
        return self.events[sequence - 1][1] if self.first <= sequence <= len(self.events) else None

    def publish(self, subject: str) -> None:
        sequence = len(self.events) + 1
        self.events.append((subject, encode(Event.new(subject, {"n": sequence}))))
        previous = self.last_of.get(subject, 0)
        self.last_of[subject] = sequence
        if self.connection.connected:
            for listener in self.listeners:
                if matches(listener.pattern, subject):
                    self.travelling.append((listener, self.record(sequence, previous)))

    def record(self, sequence: int, previous: int = 0) -> Record:
        subject, payload = self.events[sequence - 1]
        return Record(sequence, subject, payload, previous)

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.travelling))):
            listener, record = self.travelling.pop(0)
            if listener in self.listeners:
                listener.bring(record)

    def drop(self, place: int) -> None:
        """Loses one copy, as a cluster may, without anybody noticing."""
        if self.travelling:
            _, record = self.travelling.pop(place % len(self.travelling))
            self.silent.add(record.sequence)

    def delay(self, place: int) -> None:
        """Lets one copy arrive behind all others."""
        if self.travelling:
            self.travelling.append(self.travelling.pop(place % len(self.travelling)))
            self.silent.add(self.travelling[-1][1].sequence)

    def lose(self) -> None:
        if self.connection.connected:
            self.connection.connected = False
            self.travelling.clear()
            for listener in self.connection.on_lost:
                listener()

    def regain(self) -> None:
        if not self.connection.connected:
            self.connection.connected = True
            for listener in self.connection.on_regained:
                listener()

    def make_anew(self) -> None:
        """Begins another life, with sequences from 1."""
        self.epoch = "00c0ffee"
        self.roll_back(0)

    def roll_back(self, last: int) -> None:
        """Loses its newest events, whose sequences the next ones get."""
        del self.events[last:]
        self.travelling.clear()
        self.last_of.clear()

    def expire(self, count: int) -> None:
        self.first = min(self.first + count, len(self.events) + 1)

    # What the hub asks of a broker

    def on_layout(self, listener: Callable[[], None]) -> None:
        """Its layout never changes."""

    def shard(self, _shard: Shard) -> ScriptedStore:
        return self

    async def events_state(self) -> EventsState:
        return of_stream(await self.state())

    async def count(self, pattern: str, after: int) -> int:
        await asyncio.sleep(0)
        if not self.connection.connected:
            raise Timeout("away")
        kept = range(max(after + 1, self.first), len(self.events) + 1)
        return sum(matches(pattern, self.events[sequence - 1][0]) for sequence in kept)

    async def state(self) -> StreamState:
        await asyncio.sleep(0)
        if not self.connection.connected:
            raise Timeout("away")
        found = StreamState(self.epoch, self.first, len(self.events), len(self.events), 0)
        await asyncio.sleep(0)
        return found

    async def read(
        self, pattern: str, after: int, limit: int = 0, since: object = None, upto: int | None = None
    ) -> Page:
        await asyncio.sleep(0)
        if not self.connection.connected:
            raise Timeout("away")
        found = [
            self.record(sequence)
            for sequence in range(max(after + 1, self.first), len(self.events) + 1)
            if matches(pattern, self.events[sequence - 1][0])
        ]
        page = Page(found[: self.page], len(found) > self.page)
        await asyncio.sleep(0)
        return page


@dataclass
class Connection:
    """What one connection brought; `upto` is where it was told to come back, where it was."""

    start: int
    seen: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    upto: int | None = None

    def check(self, store: ScriptedStore, patterns: tuple[str, ...], complete: bool) -> None:
        """Compares with the stream: in order, nothing twice, and nothing missing up to where it claims to have come."""
        seen = self.seen
        assert seen == sorted(set(seen)), "out of order, or twice"
        wanted = [
            sequence
            for sequence, (subject, _) in enumerate(store.events, 1)
            if sequence > self.start and any(matches(pattern, subject) for pattern in patterns)
        ]
        assert set(seen) <= set(wanted), "not asked for"
        come = wanted[-1] if complete and wanted else (seen[-1] if seen else 0)
        upto = come if self.upto is None else self.upto
        missing = [sequence for sequence in wanted if sequence <= upto and sequence not in set(seen)]
        if not complete and self.upto is None:
            # Who has left before the next look cannot have been told.
            missing = [sequence for sequence in missing if sequence not in store.silent]
        told = [sequence for sequence in missing if any(first <= sequence <= last for first, last in self.gaps)]
        # What retention took while the reader was away is told; nothing else may be missing.
        assert missing == told or all(sequence < store.first for sequence in set(missing) - set(told)), (
            missing,
            self.gaps,
        )


class Client:
    """One client, whose socket takes as many writes as the script allows; it comes back where it is told to."""

    def __init__(self, hub: Hub, patterns: list[str], start: int) -> None:
        self.view = View.of("sess_x", patterns, None, None)
        self.connections = [Connection(start)]
        self.may_write = asyncio.Semaphore(0)
        self.stats = Stats()
        self.reader: Reader | None = None
        self._hub = hub

    @property
    def progress(self) -> object:
        return [len(connection.seen) for connection in self.connections]

    async def run(self) -> None:
        while await self._connected(self.connections[-1]):
            pass

    async def _connected(self, now: Connection) -> bool:
        async with open_reader(self._hub, self.view, "sess_x", self.stats, kind=Reader) as reader:
            self.reader = reader
            async for step in reader.read(Start(cursor=Cursor(EPOCH, now.start))):
                await self.may_write.acquire()
                if isinstance(step, Batch):
                    now.seen += [record.sequence for record in step.records]
                elif step.control == "gap":
                    now.gaps.append((Cursor.parse(step.body["from"]).sequence, Cursor.parse(step.body["to"]).sequence))
                elif isinstance(step, Notice) and step.control == "bye":
                    assert step.body["reason"] == "events_missed", f"cut off: {step}"
                    now.upto = Cursor.parse(step.body["cursor"]).sequence
                    self.connections.append(Connection(now.upto))
        return now.upto is not None


SUBJECTS = st.sampled_from(["job.a.x", "job.b.x", "cam.a.y"])
PATTERNS = st.sampled_from([("job.>",), (">",), ("job.a.>", "cam.>"), ("job.>", "job.a.x")])
STEPS = st.one_of(
    st.tuples(st.just("publish"), SUBJECTS),
    st.tuples(st.just("publish"), SUBJECTS),
    st.tuples(st.just("deliver"), st.integers(1, 6)),
    st.tuples(st.just("drop"), st.integers(0, 6)),
    st.tuples(st.just("late"), st.integers(0, 6)),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 6)),
    st.tuples(st.just("turn"), st.integers(10, 60)),
    st.tuples(st.just("connect"), st.tuples(PATTERNS, st.integers(0, 100))),
    st.tuples(st.just("write"), st.tuples(st.integers(0, 5), st.integers(1, 5))),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("regain"), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("expire"), st.integers(1, 3)),
    st.tuples(st.just("beat"), st.none()),
)  # fmt: skip


# A live reader hears the second of two events and never the first: by a later one of its subject, or by the count alone.
LIVE = [("connect", ((">",), 0)), ("turn", 60)]
LIVE_NARROW = [("connect", (("job.>",), 0)), ("turn", 60)]
MISSED = [
    *LIVE,
    ("publish", "job.a.x"),
    ("drop", 0),
    ("publish", "job.b.x"),
    ("deliver", 6),
    ("turn", 6),
    ("write", (0, 5)),
]
# Something was not heard, and before anybody could find that out the connection is gone.
MISSED_AND_LOST = [
    ("connect", (("job.>",), 0)),
    ("turn", 60),
    *[("publish", "job.a.x")] * 3,
    ("deliver", 6),
    ("turn", 6),
    ("publish", "job.b.x"),
    ("drop", 0),
    ("publish", "job.a.x"),
    ("deliver", 6),
    ("turn", 6),
    ("lose", None),
]


@pytest.mark.slow
@settings(max_examples=400)
@given(st.lists(STEPS, min_size=15, max_size=80), st.integers(1, 4), st.integers(2, 6))
@example([*MISSED, ("publish", "job.a.x"), ("deliver", 6), ("turn", 6)], 3, 6)
@example(MISSED, 3, 6)
@example([*MISSED_AND_LOST[:-1], ("write", (0, 5)), ("lose", None)], 1, 2)
@example([*LIVE, ("publish", "job.a.x"), ("publish", "job.b.x"), ("late", 0), ("deliver", 6)], 3, 6)
# What a heartbeat finds on its way is more than the mailbox holds.
@example(
    [("connect", (("job.>",), 0)), ("turn", 60), ("beat", None), *[("publish", "job.a.x")] * 10, ("deliver", 10)], 1, 2
)
# What one subscription did not hear, another one that takes its place cannot know.
@example([*[("publish", "job.a.x")] * 3, *LIVE_NARROW, *[("publish", "job.a.x")] * 3, ("drop", 2), *LIVE], 1, 2)
# Retention takes events that have not arrived yet.
@example([*LIVE, *[("publish", "job.a.x")] * 4, ("deliver", 1), ("expire", 3), *[("look", None)] * 2, *MISSED], 1, 2)
def test_every_reader_s_record_equals_the_stream_s(steps: list[tuple[str, Any]], page: int, mailbox: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # The scripted store is never behind itself: nothing is gained by asking it again later.
        patch.setattr(live, "COUNT_PAUSES", (0.0,))
        # Turns of the loop are counted here: nothing may wait for a time that depends on how long writing takes.
        patch.setattr("edge.hub.hub.MAX_REST", 0.0)
        asyncio.run(_scenario(steps, page, mailbox))


async def _scenario(steps: list[tuple[str, Any]], page: int, mailbox: int) -> None:
    store = ScriptedStore(page=page)
    hub = Hub(store, SessionSettings(mailbox_events=mailbox, heartbeat=3600, store_patience=3600))  # type: ignore[arg-type]
    clients: list[tuple[Client, asyncio.Task[None]]] = []
    everyone: list[Client] = []
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
                case "late":
                    store.delay(value)
                case "look":
                    await hub.integrity.check_position()
                case "turn":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "connect":
                    patterns, at = value
                    client = Client(hub, list(patterns), at % (len(store.events) + 1))
                    everyone.append(client)
                    clients.append((client, asyncio.ensure_future(client.run())))
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
                case "expire":
                    store.expire(value)
                case "beat":
                    hub.flush()
                    for reader in hub.readers:
                        reader.beat()
        store.regain()
        await _settle(store, hub, clients)
        for client in everyone:
            there = any(client is each for each, _ in clients)
            for connection in client.connections:
                connection.check(store, client.view.patterns, complete=there and connection is client.connections[-1])
            assert client.stats.sent == client.stats.delivered + client.stats.queued
            assert client.stats.queued >= 0
    finally:
        for _, task in clients:
            task.cancel()
        running.cancel()
        await asyncio.gather(running, *(task for _, task in clients), return_exceptions=True)


async def _settle(store: ScriptedStore, hub: Hub, clients: list[tuple[Client, asyncio.Task[None]]]) -> None:
    """Lets everything arrive and every socket drain; real time passes only where the hub waits before it tries again."""
    quiet = 0
    before: object = None
    async with asyncio.timeout(PATIENCE):
        while quiet < 60 or not hub.integrity.is_steady:
            store.deliver(1000)
            for client, task in clients:
                if task.done():
                    task.result()
                client.may_write.release()
            alive = all(client.reader and client.reader.state is State.LIVE for client, _ in clients)
            await asyncio.sleep(0 if hub.integrity.is_steady and alive else 0.01)
            now = [client.progress for client, _ in clients]
            quiet = quiet + 1 if now == before and alive else 0
            before = now
            if quiet in (20, 40):
                # The second look finds whatever did not arrive before the first.
                await hub.integrity.check_position()


async def test_the_last_reader_of_a_view_ends_its_feed_and_what_only_that_received() -> None:
    store = ScriptedStore()
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(PATIENCE)
        everything, jobs = View.of("sess_a", [">"], None, None), View.of("sess_b", ["job.>"], None, None)
        assert hub.join_now(jobs) is None, "nothing is received yet"

        wide = await hub.join(everything)
        first, second = hub.join_now(jobs), hub.join_now(jobs)
        assert first is not None and first is second and first is not wide
        assert [hub.leave_now(first), hub.leave_now(second)] == [False, False]
        third = hub.join_now(jobs)
        assert third is not None and third is not first

        # What the wide one received for the other has to be received by itself.
        assert hub.leave_now(wide)
        await hub.drop(wide)
        assert {listening.pattern for listening in store.listeners} >= set(jobs.patterns)
        assert hub.leave_now(third)
        await hub.drop(third)
        assert hub.join_now(jobs) is None and hub.join_now(everything) is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("is_led", [False, True])
async def test_an_older_state_rolls_the_stream_back_only_where_most_servers_follow_who_tells_it(
    is_led: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was paused takes itself for the leader until it hears of the next one."""
    store = ScriptedStore()
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    client = Client(hub, [">"], 0)
    tasks = [asyncio.ensure_future(hub.run()), asyncio.ensure_future(client.run())]
    told: list[StreamState] = []
    try:
        await hub.integrity.steady(PATIENCE)
        for subject in ("job.a.x", "job.b.x", "job.a.x"):
            store.publish(subject)
        await _settle(store, hub, [(client, tasks[1])])
        assert client.connections[-1].seen == [1, 2, 3]
        newest = store.state

        async def older() -> StreamState:
            told.append(StreamState(store.epoch, 1, 1, 1, 0, is_led))
            if len(told) == 2:
                monkeypatch.setattr(store, "state", newest)
            return told[-1]

        monkeypatch.setattr(store, "state", older)
        await hub.integrity.check_position()
        assert hub.integrity.is_steady is not is_led and len(told) == 1
        told.clear()
        monkeypatch.setattr(store, "state", older)
        store.lose()
        store.regain()
        await _settle(store, hub, [(client, tasks[1])])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert (hub.integrity.incarnation > 1) is is_led
    assert is_led or (len(client.connections) == 1 and not client.connections[0].gaps)
