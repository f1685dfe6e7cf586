"""Starting with a snapshot, as a property: the newest of each subject first, then all that comes after, whatever the interleaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.dialects.callback import CALLBACK
from edge.hub.hub import Hub
from edge.hub.reader import Reader, open_reader
from edge.hub.recovery import FoundSnapshot
from edge.hub.snapshot import SnapshotPages
from edge.settings import SessionSettings
from edge.stats import Stats
from edge.transports.fast import connection
from edge.transports.fast.sse import FastSse
from edge.transports.fast.takeover import Takeover
from edge.types import Batch, Notice, State
from edge.view import View
from router.cursor import Cursor, Start, parse_start
from router.errors import Timeout
from router.position import of_one
from router.record import Record
from router.subject import matches
from tests.edge.hub.test_hub import ScriptedStore
from tests.edge.transports.fast.test_connection import PlainEncoder, ScriptedTransport
from tests.waiting import PATIENCE

LATEST = ("job.a.progress", "job.b.progress", "camera.a.statistics")
SUBJECTS = (*LATEST, "job.a.output", "job.a.noted")


class SnapshotStore(ScriptedStore):
    """A scripted store that finds the newest of each subject."""

    async def latest_pages(
        self, patterns: Sequence[str], upto: int | None = None, most: int | None = None
    ) -> AsyncIterator[list[Record]]:
        await asyncio.sleep(0)
        if not self.connection.connected:
            raise Timeout("away")
        newest = {
            subject: sequence
            for sequence, (subject, _) in enumerate(self.events[:upto], 1)
            if any(matches(pattern, subject) for pattern in patterns)
        }
        for sequence in newest.values():
            yield [self.record(sequence)]
            await asyncio.sleep(0)

    def snapshot(self, patterns: Sequence[str], upto: int) -> list[int]:
        newest = {
            subject: sequence
            for sequence, (subject, _) in enumerate(self.events[:upto], 1)
            if subject in LATEST and any(matches(pattern, subject) for pattern in patterns)
        }
        return sorted(newest.values())

    def after(self, patterns: Sequence[str], sequence: int) -> list[int]:
        return [
            place
            for place, (subject, _) in enumerate(self.events, 1)
            if place > sequence and any(matches(pattern, subject) for pattern in patterns)
        ]


class SlowClient:
    """A client over plain ASGI, whose socket takes as many writes as the script allows."""

    def __init__(self, hub: Hub, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self.said: list[int | Notice] = []
        self.may_write = asyncio.Semaphore(0)
        self.stats = Stats()
        self.reader: Reader | None = None
        self._hub = hub

    async def run(self) -> None:
        view = View.of("sess_x", list(self.patterns), None, None)
        async with open_reader(self._hub, view, "sess_x", self.stats, kind=Reader) as self.reader:
            async for step in self.reader.read(Start(snapshot=True)):
                await self.may_write.acquire()
                self.said += [record.sequence for record in step.records] if isinstance(step, Batch) else [step]

    def take(self) -> None:
        self.may_write.release()


class FastClient:
    """The same over a socket that was taken over."""

    def __init__(self, takeover: Takeover, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self.stats = Stats()
        self.socket = ScriptedTransport()
        self.reader: FastSse | None = None
        self._takeover = takeover

    async def run(self) -> None:
        hub = self._takeover.hub
        feed = await hub.join(View.of("sess_x", list(self.patterns), None, None))
        self.reader = self.socket.lane = FastSse(
            hub, self._takeover.sweeper, feed, "sess_x", self.stats, PlainEncoder(CALLBACK)
        )
        self.reader.connection_made(self.socket)  # type: ignore[arg-type]
        self.reader.begin(Start(snapshot=True))

    def take(self) -> None:
        self.socket.drain()

    @property
    def said(self) -> list[int | Notice]:
        found: list[int | Notice] = []
        rest = b""
        for part in self.socket.written:
            if isinstance(part, Notice):
                found.append(part)
                continue
            rest += part
            whole = len(rest) // 8 * 8
            found += [int.from_bytes(rest[at : at + 8]) for at in range(0, whole, 8)]
            rest = rest[whole:]
        return found


def check(client: SlowClient | FastClient, store: SnapshotStore) -> None:
    """What came is the snapshot as of the place that the client was told, and then all behind it."""
    ready, *rest = client.said
    assert isinstance(ready, Notice) and parse_start(ready.body["cursor"]).snapshot
    place = next(at for at, said in enumerate(rest) if isinstance(said, Notice) and said.control == "position")
    position = rest[place]
    assert isinstance(position, Notice)
    upto = Cursor.parse(position.body["cursor"]).sequence
    snapshot = [said for said in rest[:place] if isinstance(said, int)]
    assert snapshot == store.snapshot(client.patterns, upto)
    assert ready.body["snapshot"] == {"events": len(snapshot), "left_out": 0}
    assert [said for said in rest[place:] if isinstance(said, int)] == store.after(client.patterns, upto)
    for at, said in enumerate(rest[:place]):
        # Who is cut off before the end goes on in the same snapshot, exactly.
        if isinstance(said, Notice):
            start = parse_start(said.body["cursor"])
            assert start.snapshot and start.cursor.sequence == upto
            assert [n for n in snapshot if (0, 0, n) > start.shown] == [n for n in rest[at:place] if isinstance(n, int)]
    assert client.stats.sent == client.stats.delivered + client.stats.queued


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(SUBJECTS)),
    st.tuples(st.just("publish"), st.sampled_from(SUBJECTS)),
    st.tuples(st.just("publish"), st.sampled_from(SUBJECTS)),
    st.tuples(st.just("deliver"), st.integers(1, 6)),
    st.tuples(st.just("turn"), st.integers(1, 20)),
    st.tuples(st.just("connect"), st.sampled_from([(">",), ("job.>",), ("job.a.>", "camera.>")])),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("lose"), st.none()),
    st.tuples(st.just("regain"), st.none()),
    st.tuples(st.just("beat"), st.none()),
)


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=10, max_size=50), st.integers(1, 3), st.integers(1, 4))
def test_a_reader_gets_the_newest_of_each_subject_and_then_all_that_comes_after(
    steps: list[tuple[str, Any]], page: int, mailbox: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("router.live.COUNT_PAUSES", (0.0,))
        patch.setattr("edge.hub.hub.MAX_REST", 0.0)
        patch.setattr(connection, "socket_of", lambda transport: transport)
        asyncio.run(_scenario([("connect", (">",)), *steps, ("connect", ("job.>",))], page, mailbox))


async def _scenario(steps: list[tuple[str, Any]], page: int, mailbox: int) -> None:
    store = SnapshotStore(page=page)
    limits = SessionSettings(mailbox_events=mailbox, heartbeat=3600, store_patience=3600)
    hub = Hub(store, limits)  # type: ignore[arg-type]
    takeover = Takeover(hub)
    clients: list[SlowClient | FastClient] = []
    tasks = [asyncio.ensure_future(hub.run()), asyncio.ensure_future(takeover.run())]
    try:
        for step, value in steps:
            match step:
                case "publish":
                    store.publish(value)
                case "deliver":
                    store.deliver(value)
                case "turn":
                    for _ in range(value):
                        await asyncio.sleep(0)
                case "connect":
                    for client in (SlowClient(hub, value), FastClient(takeover, value)):
                        clients.append(client)
                        tasks.append(asyncio.ensure_future(client.run()))
                case "take":
                    clients[value % len(clients)].take()
                case "lose":
                    store.lose()
                case "regain":
                    store.regain()
                case "beat":
                    hub.flush()
                    for reader in tuple(hub.readers):
                        reader.beat()
        store.regain()
        await _settle(store, hub, clients)
        for client in clients:
            check(client, store)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _settle(store: SnapshotStore, hub: Hub, clients: list[SlowClient | FastClient]) -> None:
    quiet, before = 0, None
    async with asyncio.timeout(PATIENCE):
        while quiet < 40:
            store.deliver(1000)
            for client in clients:
                client.take()
            alive = hub.integrity.is_steady and all(c.reader and c.reader.state is State.LIVE for c in clients)
            await asyncio.sleep(0 if alive else 0.005)
            now = [len(client.said) for client in clients]
            quiet, before = (quiet + 1 if alive and now == before else 0), now


def test_pages_hold_what_a_mailbox_does_and_one_event_at_least() -> None:
    records = [Record(n, "job.a.progress", b"x" * size) for n, size in enumerate((40, 40, 40, 500, 40), 1)]
    view = View.of("sess_x", None, None, None)
    pages = SnapshotPages(
        FoundSnapshot(records, of_one(9), 2, None), view, SessionSettings(mailbox_events=2, mailbox_bytes=100)
    )

    assert (pages.events, pages.left_out, pages.upto, pages.before) == (5, 2, of_one(9), of_one(0))
    found = []
    while not pages.done:
        found.append([record.sequence for record in pages.next_page()])
    assert found == [[1, 2], [3], [4], [5]]
    assert pages.next_page() == []
