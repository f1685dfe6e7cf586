"""The hand-over from replay to live on the fast lane, as a property: each lane's record equals the stream's.

The store and the transport are named fakes that do what the script says; the hub, the lanes and their reader are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.disconnect import ROTATED
from edge.hub import Hub
from edge.lane.lanes import Lanes
from edge.lane.stream import StreamLane
from edge.session import Batch, Notice, SessionSettings, State, Wire
from edge.stats import Stats
from edge.view import View
from router import live
from router.cursor import Cursor, Start
from router.subject import matches
from tests.edge.test_handover import EPOCH, MISSED, SUBJECTS, ScriptedStore
from tests.waiting import eventually


class PlainWire(Wire):
    """Events as their sequences, so that a record is easily read."""

    name = "plain"

    def events(self, batch: Batch) -> list[int]:
        return [record.sequence for record in batch.records]

    def notice(self, notice: Notice) -> Notice:
        return notice


class ScriptedTransport:
    """A socket whose buffer holds one write and drains when told."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.waiting = 0
        self.lane: StreamLane | None = None
        self.closed = False

    def write(self, said: Any) -> None:
        assert not self.closed
        if isinstance(said, bytes):  # the padding of SSE
            return
        self.written.append(said)
        self.waiting += 1
        # A notice or a page that was under way when it became full, and a heartbeat: not more.
        assert self.waiting <= 4, "a full socket is written to"
        assert self.lane is not None
        if self.waiting > 1 and not self.lane._paused:
            self.lane.pause_writing()

    def drain(self) -> None:
        self.waiting = 0
        if self.lane is not None and self.lane._paused and not self.closed:
            self.lane.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        """There is no socket below: all goes through `write`."""

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Client:
    """One lane, and what came out of it."""

    def __init__(self, lanes: Lanes, patterns: list[str], at: int) -> None:
        self.view = View.of("sess_x", patterns, None, None)
        self.start = at
        self.stats = Stats()
        self.socket = ScriptedTransport()
        self.lane: StreamLane | None = None
        self._lanes = lanes

    async def connect(self) -> None:
        feed = await self._lanes.hub.join(self.view)
        self.lane = self.socket.lane = StreamLane(self._lanes, feed, "sess_x", self.stats, PlainWire())
        self.lane.connection_made(cast(asyncio.Transport, self.socket))
        self.lane.begin(Start(cursor=Cursor(EPOCH, self.start)))

    def leave(self) -> None:
        if self.lane is not None:
            self.lane.connection_lost(None)
            self.socket.closed = True

    @property
    def seen(self) -> list[int]:
        return [sequence for said in self.socket.written if isinstance(said, list) for sequence in said]

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
        for place, said in enumerate(self.socket.written):
            if (
                isinstance(said, Notice)
                and said.control in ("position", "heartbeat", "bye")
                and said.body.get("cursor")
            ):
                claimed = _sequence(said.body["cursor"])
                later = [n for each in self.socket.written[place:] if isinstance(each, list) for n in each]
                assert all(sequence > claimed for sequence in later)
            if isinstance(said, Notice) and said.control == "bye":
                assert said is self.socket.written[-1]


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


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=10, max_size=80), st.integers(1, 4), st.integers(2, 6))
@example([*MISSED, ("publish", "job.a.x"), ("deliver", 6), ("turn", 6)], 3, 6)
@example(MISSED, 3, 6)
def test_every_lane_s_record_equals_the_stream_s(steps: list[tuple[str, Any]], page: int, mailbox: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "LOOK_AGAIN", (0.0,))
        asyncio.run(_scenario(steps, page, mailbox))


async def _scenario(steps: list[tuple[str, Any]], page: int, mailbox: int) -> None:
    store = ScriptedStore(page=page)
    hub = Hub(store, SessionSettings(mailbox_events=mailbox, heartbeat=3600, store_patience=3600))  # type: ignore[arg-type]
    lanes = Lanes(hub)
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
                    await hub._check_position()
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
                    assert gone.socket.closed and gone.socket.written[-1].control == "bye"
                    gone.leave()
                    clients.remove(gone)
                case "expire":
                    store.expire(value)
                case "beat":
                    for reader in tuple(hub.readers):
                        reader.beat()
        store.regain()
        await _settle(store, hub, clients, connecting, come_back)
        for client in everyone:
            _check(client, store, complete=client in clients)
        assert len(hub.readers) == len(clients)
    finally:
        for task in (*connecting, *running):
            task.cancel()
        await asyncio.gather(*connecting, *running, return_exceptions=True)


async def test_a_lane_that_came_with_a_newer_cursor_is_not_told_again() -> None:
    store = ScriptedStore(page=3)
    hub = Hub(store, SessionSettings(heartbeat=3600))  # type: ignore[arg-type]
    lanes = Lanes(hub)
    running = [asyncio.ensure_future(hub.run()), asyncio.ensure_future(lanes.run())]
    first, second = Client(lanes, ["job.>"], 0), Client(lanes, ["job.>"], 3)
    try:
        await hub.steady(5)
        await first.connect()
        await eventually(lambda: first.lane and first.lane.state is State.LIVE)
        for _ in range(3):
            store.publish("job.a.x")
        await second.connect()
        await eventually(lambda: second.lane and second.lane.state is State.LIVE)
        second.socket.drain()
        store.publish("job.a.x")
        store.deliver(4)
        await eventually(lambda: first.socket.drain() or len(first.seen) == 4)

        assert second.seen == [4]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


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
    async with asyncio.timeout(20):
        while quiet < 60 or not hub.is_steady:
            store.deliver(1000)
            for client in clients:
                client.socket.drain()
            for task in connecting:
                if task.done():
                    task.result()
            come_back()
            alive = all(client.lane and client.lane.state is State.LIVE for client in clients)
            await asyncio.sleep(0 if hub.is_steady and alive else 0.01)
            now = [(id(client), len(client.seen)) for client in clients]
            quiet = quiet + 1 if now == before and alive else 0
            before = now
            if quiet in (20, 40):
                # The second look finds whatever did not arrive before the first.
                await hub._check_position()


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
    told = [sequence for sequence in missing if any(first <= sequence <= last for first, last in client.gaps)]
    # What retention took while the reader was away is told; nothing else may be missing.
    assert missing == told or all(sequence < store.first for sequence in set(missing) - set(told)), missing
    client.check_cursors()
    stats = client.stats
    assert stats.delivered == len(seen)
    assert stats.sent == stats.delivered + stats.queued and stats.queued >= 0
    if not complete:
        assert stats.queued == 0 and stats.sses == 0
