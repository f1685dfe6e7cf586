"""The hand-over from replay to live on the fast lane, as a property: each lane's record equals the stream's.

The store and the transport are named fakes that do what the script says; the hub, the lanes and their reader are real.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import PADDING
from edge.disconnect import ROTATED
from edge.hub import heartbeat_slice
from edge.hub.hub import Hub
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.transports.encoders import BatchEncoder
from edge.transports.fast import connection as reader
from edge.transports.fast.sse import FastSse
from edge.transports.fast.takeover import Takeover
from edge.types import Batch, Notice, State
from edge.view import FULL, Pace, View
from router import live
from router.cursor import Cursor, Start
from router.subject import matches
from tests.edge.hub.test_hub import EPOCH, MISSED, MISSED_AND_LOST, SUBJECTS, ScriptedStore
from tests.waiting import PATIENCE, eventually

EIGHT = 8
# What a mailbox holds: two or three events, or as many as there may be. A batch of more is handed to each lane by itself.
SOME_BYTES, ANY_BYTES = 400, 1 << 20


class WrittenNotice(Notice):
    """A notice that takes a byte."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1


class PlainEncoder(BatchEncoder):
    """Events as their sequences in eight bytes each, so that a record is easily read."""

    name = "plain"

    def events(self, batch: Batch) -> bytes:
        return b"".join(record.sequence.to_bytes(EIGHT) for record in batch.records)

    def notice(self, notice: Notice) -> Notice:
        return WrittenNotice(notice.control, notice.body)


_descriptors = itertools.count()
_sockets: weakref.WeakValueDictionary[int, ScriptedTransport] = weakref.WeakValueDictionary()


class ScriptedTransport:
    """A transport, and the socket below it whose buffer holds a write and a half and drains when told."""

    def __init__(self) -> None:
        self.written: list[bytes | Notice] = []
        self.waiting = 0
        self.sent = 0
        self.lane: FastSse | None = None
        self.closed = False
        self._descriptor = -1
        self.family = socket.AF_UNIX

    def send(self, said: bytes | WrittenNotice) -> int:
        """What rows write to."""
        assert self.lane is not None
        assert not self.closed and not self.lane._paused, "a full socket is written to"
        self.sent += 1
        room = self.waiting + self.sent <= 1
        if self.waiting + self.sent > 2 or (isinstance(said, Notice) and not room):
            raise BlockingIOError
        if isinstance(said, Notice):
            self.written.append(said)
            return len(said)
        taken = said if room else said[: len(said) // 2]
        self.written.append(taken)
        return len(taken)

    def fileno(self) -> int:
        """A descriptor by which heartbeats are written to it."""
        if self._descriptor < 0:
            self._descriptor = next(_descriptors)
            _sockets[self._descriptor] = self
        return self._descriptor

    def detach(self) -> int:
        return -1

    def write(self, said: bytes | memoryview | Notice) -> None:
        assert not self.closed
        if said == PADDING:
            return
        self.written.append(said if isinstance(said, Notice) else bytes(said))
        self.waiting += 1
        # A notice or a page that was under way when it became full, and a heartbeat: not more.
        assert self.waiting <= 4, "a full socket is written to"
        assert self.lane is not None
        if self.waiting + self.sent > 1 and not self.lane._paused:
            self.lane.pause_writing()

    def writelines(self, said: list[bytes | Notice]) -> None:
        for each in said:
            self.write(each)

    def drain(self) -> None:
        self.waiting = self.sent = 0
        if self.lane is not None and self.lane._paused and not self.closed:
            self.lane.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Client:
    """One lane, and what came out of it."""

    def __init__(self, lanes: Takeover, patterns: list[str], at: int, pace: Pace = FULL) -> None:
        self.view = View.of("sess_x", patterns, None, None)
        self.start = at
        self.pace = pace
        self.stats = Stats()
        self.socket = ScriptedTransport()
        self.lane: FastSse | None = None
        self._lanes = lanes

    async def connect(self) -> None:
        feed = await self._lanes.hub.join(self.view)
        self.lane = self.socket.lane = FastSse(
            self._lanes.hub, self._lanes.sweeper, feed, "sess_x", self.stats, PlainEncoder(CALLBACK), self.pace
        )
        self.lane.connection_made(cast(asyncio.Transport, self.socket))
        self.lane.begin(Start(cursor=Cursor(EPOCH, self.start)))

    def leave(self) -> None:
        if self.lane is not None:
            self.lane.connection_lost(None)
            self.socket.closed = True

    @property
    def said(self) -> list[int | Notice]:
        """Sequences and notices as they came; a notice never comes between the parts of an event."""
        found: list[int | Notice] = []
        rest = b""
        for part in self.socket.written:
            if isinstance(part, Notice):
                assert not rest, "a notice in the middle of an event"
                found.append(part)
                continue
            rest += part
            whole = len(rest) // EIGHT * EIGHT
            found += [int.from_bytes(rest[at : at + EIGHT]) for at in range(0, whole, EIGHT)]
            rest = rest[whole:]
        return found

    @property
    def seen(self) -> list[int]:
        return [said for said in self.said if isinstance(said, int)]

    @property
    def gaps(self) -> list[tuple[int, int]]:
        notices = [said for said in self.socket.written if isinstance(said, Notice) and said.control == "gap"]
        return [(_sequence(said.body["from"]), _sequence(said.body["to"])) for said in notices]

    @property
    def sent_back(self) -> int | None:
        """Where it was told to come back because something was missed."""
        for said in self.socket.written[-1:]:
            if isinstance(said, Notice) and said.control == "bye" and said.body["reason"] == "events_missed":
                return _sequence(said.body["cursor"])
        return None

    def check_cursors(self) -> None:
        """No notice may claim a place before what it claims has been written."""
        everything = self.said
        furthest = 0
        for place, said in enumerate(everything):
            if (
                isinstance(said, Notice)
                and said.control in ("position", "heartbeat", "bye")
                and said.body.get("cursor")
            ):
                claimed = _sequence(said.body["cursor"])
                assert all(later > claimed for later in everything[place:] if isinstance(later, int))
                assert said.control == "bye" or claimed >= furthest, "a cursor that goes back"
                furthest = claimed
                # Only a `bye` may send a client back before what it has.
                before = [earlier for earlier in everything[:place] if isinstance(earlier, int)]
                assert said.control == "bye" or all(earlier <= claimed for earlier in before)
            if isinstance(said, Notice) and said.control == "bye":
                assert said is everything[-1]


def _script(patch: pytest.MonkeyPatch) -> None:
    """Has what is written to sockets written to scripted ones."""
    patch.setattr(reader, "socket_of", lambda transport: transport)
    patch.setattr(heartbeat_slice, "write", lambda descriptor, form: _sockets[descriptor].send(form))


def _sequence(cursor: str) -> int:
    return Cursor.parse(cursor).sequence


PATTERNS = st.sampled_from([("job.>",), (">",), ("job.a.>", "cam.>"), ("job.>", "job.a.x")])
STEPS = st.one_of(
    st.tuples(st.just("say"), st.tuples(SUBJECTS, st.integers(1, 4))),
    st.tuples(st.just("say"), st.tuples(SUBJECTS, st.integers(1, 4))),
    st.tuples(st.just("publish"), SUBJECTS),
    st.tuples(st.just("deliver"), st.integers(1, 6)),
    st.tuples(st.just("drop"), st.integers(0, 6)),
    st.tuples(st.just("late"), st.integers(0, 6)),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 6)),
    st.tuples(st.just("turn"), st.integers(10, 60)),
    st.tuples(st.just("connect"), st.tuples(PATTERNS, st.integers(0, 100))),
    st.tuples(st.just("drain"), st.integers(0, 5)),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("regain"), st.none()),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("rotate"), st.integers(0, 5)),
    st.tuples(st.just("expire"), st.integers(1, 3)),
    st.tuples(st.just("beat"), st.none()),
)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(STEPS, min_size=10, max_size=80),
    st.integers(1, 4),
    st.integers(2, 6),
    st.sampled_from((SOME_BYTES, ANY_BYTES)),
)
@example([*MISSED, ("publish", "job.a.x"), ("deliver", 6), ("turn", 6)], 3, 6, ANY_BYTES)
@example(MISSED, 3, 6, ANY_BYTES)
@example(MISSED_AND_LOST, 1, 2, ANY_BYTES)
def test_every_lane_s_record_equals_the_stream_s(
    steps: list[tuple[str, Any]], page: int, mailbox: int, most_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "COUNT_PAUSES", (0.0,))
        # Turns of the loop are counted here: nothing may wait for a time that depends on how long writing takes.
        patch.setattr("edge.hub.hub.MAX_REST", 0.0)
        # What is scripted is socket and transport in one.
        _script(patch)
        # Others come and go while the heartbeats of a share are written.
        patch.setattr(heartbeat_slice, "BEATS_AT_ONCE", 2)
        patch.setattr("edge.hub.hub.BEATS_AT_ONCE", 2)
        asyncio.run(_scenario(steps, page, mailbox, most_bytes))


async def _scenario(steps: list[tuple[str, Any]], page: int, mailbox: int, most_bytes: int) -> None:
    store = ScriptedStore(page=page)
    hub = Hub(
        store, SessionSettings(mailbox_events=mailbox, mailbox_bytes=most_bytes, heartbeat=3600, store_patience=3600)
    )  # type: ignore[arg-type]
    lanes = Takeover(hub)
    clients: list[Client] = []
    everyone: list[Client] = []
    connecting: list[asyncio.Task[None]] = []
    running = [asyncio.ensure_future(hub.run()), asyncio.ensure_future(lanes.run())]
    for _ in range(12):
        await asyncio.sleep(0)

    def come_back() -> None:
        """Whoever was sent back connects again, where it was told to."""
        for client in [client for client in clients if client.sent_back is not None]:
            client.leave()
            clients.remove(client)
            again = Client(lanes, list(client.view.patterns), client.sent_back or 0)
            everyone.append(again)
            clients.append(again)
            connecting.append(asyncio.ensure_future(again.connect()))

    try:
        for step, value in steps:
            come_back()
            match step:
                case "say":
                    # What is published in one tick and heard in the next; live lanes have it after that.
                    subject, count = value
                    for _ in range(count):
                        store.publish(subject)
                        store.deliver(1000)
                    for _ in range(3):
                        await asyncio.sleep(0)
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
                    client = Client(lanes, list(patterns), at % (len(store.events) + 1))
                    everyone.append(client)
                    clients.append(client)
                    connecting.append(asyncio.ensure_future(client.connect()))
                case "drain" if clients:
                    clients[value % len(clients)].socket.drain()
                case "lose":
                    store.lose()
                case "regain":
                    store.regain()
                case "leave" if here := [client for client in clients if client.lane]:
                    gone = here[value % len(here)]
                    gone.leave()
                    clients.remove(gone)
                case "rotate" if here := [client for client in clients if client.lane]:
                    gone = here[value % len(here)]
                    assert gone.lane
                    gone.lane.close(ROTATED)
                    assert gone.socket.closed and gone.said[-1].control == "bye"
                    gone.leave()
                    clients.remove(gone)
                case "expire":
                    store.expire(value)
                case "beat":
                    # The period is one tick: all are due.
                    await hub.beat()
        store.regain()
        await _settle(store, hub, clients, connecting, come_back)
        for client in everyone:
            _check(client, store, complete=client in clients)
        assert len(hub.readers) == len(clients)
        assert hub.apart == {each for each in hub.readers if each.group is None}  # type: ignore[attr-defined]
        assert +hub.counts == Counter(each.transport_name for each in hub.readers)
    finally:
        for task in (*connecting, *running):
            task.cancel()
        await asyncio.gather(*connecting, *running, return_exceptions=True)


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ScriptedStore, Hub, Takeover]]:
    """A store, a hub and its lanes, with mailboxes of 400 bytes."""
    _script(monkeypatch)
    store = ScriptedStore(page=3)
    hub = Hub(store, SessionSettings(mailbox_bytes=SOME_BYTES, heartbeat=3600))  # type: ignore[arg-type]
    lanes = Takeover(hub)
    running = [asyncio.ensure_future(hub.run()), asyncio.ensure_future(lanes.run())]
    await hub.integrity.steady(5)
    yield store, hub, lanes
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _live(*clients: Client) -> None:
    for client in clients:
        await client.connect()
    await eventually(lambda: all(client.lane and client.lane.state is State.LIVE for client in clients))
    for client in clients:
        client.socket.drain()


async def test_a_lane_begins_at_once_and_without_a_task_where_the_store_need_not_be_asked(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    first = Client(lanes, ["job.>"], 0)
    await _live(first)
    for _ in range(3):
        store.publish("job.a.x")
    store.deliver(3)
    await eventually(lambda: first.socket.drain() or first.seen == [1, 2, 3])

    second = Client(lanes, ["job.>"], 1)
    await second.connect()

    assert second.lane and second.lane._task is None and second.lane.state is State.LIVE
    ready, *_ = second.said
    assert isinstance(ready, Notice) and ready.control == "ready" and ready.body["recovered"]
    assert _sequence(ready.body["cursor"]) == 1
    second.socket.drain()
    assert second.seen == [2, 3]


async def test_a_lane_whose_place_the_store_must_find_waits_for_it_in_a_task(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    store.publish("job.a.x")
    client = Client(lanes, ["job.>"], 1)
    await client.connect()

    assert client.lane and client.lane._task is not None and not client.said
    await eventually(lambda: client.lane and client.lane.state is State.LIVE)
    assert [said.control for said in client.said if isinstance(said, Notice)] == ["ready"]


async def test_a_lane_that_fails_as_it_begins_is_closed_and_no_other(
    place: tuple[ScriptedStore, Hub, Takeover], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hub, lanes = place
    first, second = Client(lanes, ["job.>"], 0), Client(lanes, ["job.>"], 0)
    await _live(first)

    def fail(*_given: object) -> None:
        raise ValueError("a fault of ours")

    with monkeypatch.context() as broken:
        broken.setattr(hub.recovery, "remembered", fail)
        await second.connect()

    (*_, bye) = second.said
    assert isinstance(bye, Notice) and (bye.control, bye.body["reason"]) == ("bye", "internal_error")
    assert second.socket.closed and first.lane and first.lane.state is State.LIVE


async def test_a_lane_that_came_with_a_newer_cursor_is_not_told_again(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    first, second = Client(lanes, ["job.>"], 0), Client(lanes, ["job.>"], 3)
    await _live(first)
    for _ in range(3):
        store.publish("job.a.x")
    await _live(second)
    store.publish("job.a.x")
    store.deliver(4)
    await eventually(lambda: first.socket.drain() or len(first.seen) == 4)

    assert second.seen == [4]


async def test_a_lane_that_is_ahead_takes_nothing_from_those_it_joins(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    first, second = Client(lanes, ["job.>"], 0), Client(lanes, ["job.>"], 3)
    await _live(first)
    for _ in range(3):
        store.publish("job.a.x")
    await _live(second)
    assert second.lane
    second.lane.pause_writing()
    store.deliver(3)
    # Heard, and not handed out yet, when the one that has them already takes part again.
    second.socket.drain()
    await eventually(lambda: first.socket.drain() or first.seen == [1, 2, 3])

    assert second.seen == []


async def test_conflating_lanes_all_get_a_batch_too_large_for_a_mailbox(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    pace = Pace(conflate=True)
    clients = [Client(lanes, ["job.>"], 0, pace) for _ in range(3)]
    await _live(*clients)
    for _ in range(6):
        store.publish("job.a.progress")
    store.deliver(100)
    await eventually(lambda: all(client.seen for client in clients))

    assert [client.seen for client in clients] == [[6]] * 3


async def test_a_live_lane_is_told_that_the_stream_was_made_anew_and_misses_nothing_of_it(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, hub, lanes = place
    client = Client(lanes, ["job.>"], 0)
    await _live(client)
    await _say(store, client, 9)
    store.make_anew()
    await hub.integrity.check_position()
    await eventually(lambda: client.socket.drain() or client.gaps == [(0, 0)])
    await _say(store, client, 1)
    assert client.lane
    hub.flush()
    client.lane.beat()

    told = client.said[-1]
    assert client.seen == [*range(1, 10), 1]
    assert isinstance(told, Notice)
    place = Cursor.parse(told.body["cursor"])
    assert (place.epoch, place.sequence) == (store.epoch, 1)


async def test_a_live_lane_is_told_that_the_stream_has_lost_its_end_and_misses_nothing_that_takes_its_place(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    client = Client(lanes, ["job.>"], 0)
    await _live(client)
    await _say(store, client, 9)
    store.lose()
    store.roll_back(5)
    store.publish("job.a.x")
    store.regain()
    await eventually(lambda: client.socket.drain() or client.seen[9:] == [1, 2, 3, 4, 5, 6])

    assert len(client.gaps) == 1


async def test_a_fault_in_handing_out_costs_nobody_an_event(
    place: tuple[ScriptedStore, Hub, Takeover], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, lanes = place
    first, second = Client(lanes, ["job.a.>"], 0), Client(lanes, [">"], 0)
    await _live(first, second)
    whole, faults = PlainEncoder.events, iter([MemoryError()])

    def events(encoder: PlainEncoder, batch: Batch) -> bytes:
        for fault in faults:
            raise fault
        return whole(encoder, batch)

    monkeypatch.setattr(PlainEncoder, "events", events)
    store.publish("job.a.x")
    store.deliver(2)

    await eventually(lambda: (first.socket.drain(), second.socket.drain()) and first.seen == second.seen == [1])


async def test_a_paced_reader_claims_nothing_that_waits_and_writes_it_when_its_time_has_come(
    place: tuple[ScriptedStore, Hub, Takeover],
) -> None:
    store, _, lanes = place
    client = Client(lanes, ["job.a.>"], 0, Pace(max_rate=0.01))
    await _live(client)
    assert client.lane is not None
    for _ in range(3):
        store.publish("job.a.x")
        store.deliver(1)
        await asyncio.sleep(0.01)
    client.socket.drain()
    client.lane._hub.flush()
    client.lane.beat()

    assert client.seen == [1]
    client.check_cursors()

    client.lane._not_before = 0.0
    client.lane._on_time()
    client.socket.drain()

    assert client.seen == [1, 2, 3]
    client.lane._hub.flush()
    client.lane.beat()
    client.check_cursors()
    client.leave()
    assert client.lane._timer is None


async def _say(store: ScriptedStore, client: Client, count: int) -> None:
    """Publishes events one by one, and waits until the client has them."""
    before = len(client.seen)
    for _ in range(count):
        store.publish("job.a.x")
        store.deliver(1)
        await asyncio.sleep(0)
        client.socket.drain()
    await eventually(lambda: client.socket.drain() or len(client.seen) == before + count)


async def _settle(
    store: ScriptedStore,
    hub: Hub,
    clients: list[Client],
    connecting: list[asyncio.Task[None]],
    come_back: Callable[[], None],
) -> None:
    """Lets everything arrive and every socket drain; real time passes only where the hub waits before it tries again."""
    quiet = 0
    before: object = None
    async with asyncio.timeout(PATIENCE):
        while quiet < 60 or not hub.integrity.is_steady:
            store.deliver(1000)
            for client in clients:
                client.socket.drain()
            for task in connecting:
                if task.done():
                    task.result()
            come_back()
            alive = all(client.lane and client.lane.state is State.LIVE for client in clients)
            await asyncio.sleep(0 if hub.integrity.is_steady and alive else 0.01)
            now = [(id(client), len(client.seen)) for client in clients]
            quiet = quiet + 1 if now == before and alive else 0
            before = now
            if quiet in (20, 40):
                # The second look finds whatever did not arrive before the first.
                await hub.integrity.check_position()


def _check(client: Client, store: ScriptedStore, complete: bool) -> None:
    seen = client.seen
    assert seen == sorted(set(seen)), "out of order, or twice"
    wanted = [
        sequence
        for sequence, (subject, _) in enumerate(store.events, 1)
        if sequence > client.start and any(matches(pattern, subject) for pattern in client.view.patterns)
    ]
    assert set(seen) <= set(wanted), "not asked for"
    come = wanted[-1] if complete and wanted else (seen[-1] if seen else 0)
    upto = come if client.sent_back is None else client.sent_back
    missing = [sequence for sequence in wanted if sequence <= upto and sequence not in set(seen)]
    if not complete and client.sent_back is None:
        # Who has left before the next look cannot have been told.
        missing = [sequence for sequence in missing if sequence not in store.silent]
    told = [sequence for sequence in missing if any(first <= sequence <= last for first, last in client.gaps)]
    # What retention took while the reader was away is told; nothing else may be missing.
    assert missing == told or all(sequence < store.first for sequence in set(missing) - set(told)), missing
    client.check_cursors()
    stats = client.stats
    assert stats.delivered == len(seen)
    assert stats.sent == stats.delivered + stats.queued and stats.queued >= 0
    if not complete:
        assert stats.queued == 0 and stats.sses == 0
