"""Readers and a publisher that go through the faults of containers, and the comparison of their records.

Each reader keeps what it got and the cursor it got it with, and comes back at that cursor, on whichever replica and
transport comes up. The publisher sends each event again, with the same key, until it was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import aiohttp
import msgspec

from router.broker import Broker
from tests import waiting
from tests.containers.engine import LOST, Edge, token
from tests.waiting import eventually, in_time

SUBJECTS = "job.held.>"
KINDS = ("websocket", "sse", "polling")
# Above the edges' heartbeat of 2 s: who hears nothing for so long looks for another connection.
PATIENCE = 20.0
PUBLISHERS = 4
HEADERS = {"Authorization": f"Bearer {token()}"}


class Reader:
    """A client that wants every event, whatever happens to its connections."""

    def __init__(self, number: int, rng: random.Random, edges: Sequence[Edge], session: str, start: str) -> None:
        self.kind = KINDS[number % 3]
        self.mixed = number >= 3  # those beyond the first three change their transport at every reconnect
        self.seen: list[int] = []
        self.cursor = start
        self.connects = 0
        self._rng = rng
        self._edges = edges
        self._session = session

    async def run(self, http: aiohttp.ClientSession) -> None:
        while True:
            base = f"{self._rng.choice(self._edges).base}/callbacks/sessions/{self._session}"
            if self.mixed:
                self.kind = self._rng.choice(KINDS)
            with contextlib.suppress(*LOST):
                await getattr(self, f"_{self.kind}")(http, base)
            self.connects += 1
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _websocket(self, http: aiohttp.ClientSession, base: str) -> None:
        async with asyncio.timeout(PATIENCE):
            socket = await http.ws_connect(f"{base}/ws?cursor={self.cursor}", max_msg_size=0)
        async with socket:
            before: str | None = None
            while (message := await socket.receive(timeout=PATIENCE)).type is aiohttp.WSMsgType.TEXT:
                before = self._take(msgspec.json.decode(message.data), before)

    async def _sse(self, http: aiohttp.ClientSession, base: str) -> None:
        async with asyncio.timeout(PATIENCE):
            answer = await http.get(f"{base}/sse", headers={"Last-Event-ID": self.cursor})
        async with answer:
            before: str | None = None
            name = "message"
            while line := await in_time(answer.content.readline()):
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: ") and answer.status == 200:
                    said = msgspec.json.decode(line[6:])
                    before = self._take(said if name == "message" else {"control": name, **said}, before)
                    name = "message"

    async def _polling(self, http: aiohttp.ClientSession, base: str) -> None:
        before: str | None = None
        while True:
            async with (
                asyncio.timeout(PATIENCE),
                http.get(f"{base}/events?cursor={self.cursor}&limit=200&wait=2") as answer,
            ):
                if answer.status != 200:
                    return
                page = await answer.json()
            assert "gap" not in page, page
            for event in page["events"]:
                before = self._take(event, before)
            self.cursor = page["next"]

    def _take(self, said: dict, before: str | None) -> str | None:
        if "control" in said:
            assert said["control"] != "gap", said
            return before
        self.seen.append(said["data"]["n"])
        self.cursor = said["cursor"]
        assert before is None or self.cursor > before, f"{self.cursor} after {before} on one connection"
        return self.cursor


class Audience:
    """Readers of one session, and who publishes to them: about `rate` events a second."""

    def __init__(self, http: aiohttp.ClientSession, edges: Sequence[Edge], rng: random.Random, rate: int) -> None:
        self.readers: list[Reader] = []
        self.published = 0
        self._http = http
        self._edges = edges
        self._rng = rng
        self._rate = rate
        self._next = 0
        self._stop = asyncio.Event()

    async def open(self, readers: int) -> None:
        """Makes the session and its readers."""
        body = {"subjects": [SUBJECTS], "events": ["output"]}
        async with self._http.post(f"{self._edges[0].base}/callbacks/sessions", json=body) as answer:
            assert answer.status == 201, await answer.text()
            made = await answer.json()
        self.readers = [
            Reader(n, random.Random(self._rng.random()), self._edges, made["session_id"], made["cursor"])
            for n in range(readers)
        ]

    async def publish(self) -> None:
        """Publishes until told to stop: the next number each time, until it is acknowledged."""
        pause = PUBLISHERS / self._rate
        while not self._stop.is_set():
            number, self._next = self._next, self._next + 1
            body = {"subject": f"job.held.t{number % 5}", "type": "output", "data": {"n": number}}
            while not await self._sent(body, f"n-{number}"):
                pass
            self.published += 1
            await asyncio.sleep(pause)

    async def _sent(self, body: dict, key: str) -> bool:
        edge = self._rng.choice(self._edges)
        with contextlib.suppress(*LOST):
            async with (
                asyncio.timeout(PATIENCE / 2),
                self._http.post(f"{edge.base}/events", json=body, headers={"Idempotency-Key": key}) as answer,
            ):
                assert answer.status in (200, 201, 202, 429, 500, 502, 503, 504), await answer.text()
                if answer.status < 300:
                    return True
        await asyncio.sleep(0.1)
        return False

    async def goes_on(self, within: float = waiting.PATIENCE) -> None:
        """Waits until new events are published and every reader has them."""
        target = self.published + self._rate
        try:
            await eventually(lambda: all(len(reader.seen) >= target for reader in self.readers), within)
        except AssertionError:
            heads = [(reader.kind, len(reader.seen), reader.connects) for reader in self.readers]
            raise AssertionError(f"{self.published} of {target} are published, readers are at {heads}") from None

    async def compare(self, broker: Broker) -> str:
        """Ends the publishing, waits for the readers, and compares their records with the stream; the figures."""
        self._stop.set()
        stream = await _oracle(broker, self)
        assert sorted(stream) == list(range(len(stream))), _difference("the stream", stream, list(range(len(stream))))
        for reader in self.readers:
            with contextlib.suppress(AssertionError):
                await eventually(lambda: len(reader.seen) >= len(stream))
            assert reader.seen == stream, _difference(reader.kind, reader.seen, stream)
        return (
            f"{len(stream)} events, {len(stream) * len(self.readers)} deliveries to {len(self.readers)} readers, "
            f"{sum(reader.connects for reader in self.readers)} reconnects; none lost, none twice"
        )


@contextlib.asynccontextmanager
async def audience(edges: Sequence[Edge], readers: int = 9, rate: int = 50) -> AsyncIterator[Audience]:
    """Readers that read and a publisher that publishes while the block runs."""
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=0)) as http:
        held = Audience(http, edges, random.Random(), rate)
        await held.open(readers)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(reader.run(http)) for reader in held.readers]
            tasks += [group.create_task(held.publish()) for _ in range(PUBLISHERS)]
            yield held
            for task in tasks:
                task.cancel()


async def _oracle(broker: Broker, held: Audience) -> list[int]:
    """The stream itself, read to its end once nothing more comes in."""
    while True:
        before, found, after, more = held.published, [], 0, True
        while more:
            page = await broker.read(SUBJECTS, after, 1000)
            # The agent actor says of what it takes for a job that it ended; those are other types.
            found += [r.event.data["n"] for r in page.records if r.event and r.event.type == "output"]
            after, more = (page.records[-1].sequence, page.more) if page.records else (after, False)
        # What is on its way when it is told to stop still arrives.
        if before == held.published == len(found) == held._next:
            return found
        await asyncio.sleep(0.2)


def _difference(who: str, seen: list[int], stream: list[int]) -> str:
    have, want = Counter(seen), Counter(stream)
    lost, twice = sorted((want - have).elements())[:10], sorted((have - want).elements())[:10]
    return (
        f"{who}: {len(seen)} of {len(stream)}, lost {lost}, twice {twice}, the same but for their order: {have == want}"
    )
