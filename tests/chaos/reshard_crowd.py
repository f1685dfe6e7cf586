"""Publishers and readers that go on while the events are put into other streams and everything dies; each keeps a record.

In the end the records are compared with what the streams hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import aiohttp
import msgspec

from router.broker import Broker
from router.codec import decode
from router.cursor import Cursor, parse_cursor
from router.errors import BrokerError
from router.event import Event
from router.layout import Layout
from router.sdk.run import Run
from router.sdk.values import RunSettings
from router.subject import matches
from tests.chaos.test_readers import LOST, Replica
from tests.router.resharding import all_stored
from tests.waiting import PATIENCE, eventually, in_time

# What a client that lost its connection, or its server, may meet over HTTP.
UNANSWERED = (*LOST, aiohttp.ContentTypeError)
# An event: its id and subject, since some producers name their events by numbers.
Name = tuple[str, str]
# Generation, shard and sequence of a stored event.
Place = tuple[int, int, int]


class Published:
    """What publishers were told is stored, by entity, each of which has one publisher."""

    def __init__(self) -> None:
        self.of: dict[str, list[Name]] = {}
        self.repeats = 0
        self.stop = asyncio.Event()

    async def over_nats(self, broker: Broker, entity: str, rng: random.Random) -> None:
        """Publishes events of one entity, each until it is acknowledged."""
        mine = self.of.setdefault(entity, [])
        while not self.stop.is_set():
            event = Event.new(f"job.{entity}.output", {"n": len(mine), "x": "x" * rng.choice((0, 0, 0, 3000))})
            while True:
                try:
                    await broker.publish(event)
                    break
                except BrokerError:
                    self.repeats += 1
                    await asyncio.sleep(0.1)
            mine.append((event.id, str(event.subject)))
            await asyncio.sleep(rng.uniform(0.0, 0.3))

    async def over_http(
        self, http: aiohttp.ClientSession, edges: Sequence[Replica], entity: str, rng: random.Random
    ) -> None:
        """Publishes batches and single events of one entity to any edge, each until it is answered."""
        mine = self.of.setdefault(entity, [])
        while not self.stop.is_set():
            count = rng.choice((1, 1, 5))
            subject = f"job.{entity}.output"
            events = [
                {"id": secrets.token_hex(8), "subject": subject, "source": entity, "data": {"n": len(mine) + place}}
                for place in range(count)
            ]
            body = events if count > 1 else events[0]
            while not await self._post(http, rng.choice(edges), body):
                self.repeats += 1
                await asyncio.sleep(0.1)
            mine += [(str(event["id"]), subject) for event in events]
            await asyncio.sleep(rng.uniform(0.0, 0.6))

    async def _post(self, http: aiohttp.ClientSession, edge: Replica, body: object) -> bool:
        with contextlib.suppress(*UNANSWERED):
            async with http.post(f"{edge.base}/events", json=body) as answer:
                if answer.status == 201:
                    return True
                assert answer.status >= 500, await answer.text()
        return False


class Reader:
    """A client that wants every event of a pattern, on whichever replica and transport comes up.

    Its record has the events in the order in which it took them, and the cursors to which it was sent back.
    """

    def __init__(
        self, number: int, rng: random.Random, pattern: str, edges: Sequence[Replica], session: str, start: str
    ) -> None:
        self.pattern = pattern
        self.kinds = (("websocket",), ("sse",), ("polling",), ("websocket", "sse", "polling"))[number % 4]
        self.rng = rng
        self.record: list[Name | str] = []
        self.taken = 0
        self.cursor = start
        self.began = Cursor.parse(start).sequence
        self.connects = 0
        self.cut = asyncio.Event()
        self._edges = edges
        self._session = session

    async def run(self, http: aiohttp.ClientSession) -> None:
        while True:
            base = f"{self.rng.choice(self._edges).base}/callbacks/sessions/{self._session}"
            self.cut.clear()
            with contextlib.suppress(*LOST):
                async with asyncio.timeout(PATIENCE):
                    await getattr(self, f"_{self.rng.choice(self.kinds)}")(http, base)
            self.connects += 1
            await asyncio.sleep(self.rng.uniform(0.01, 0.2))

    async def _websocket(self, http: aiohttp.ClientSession, base: str) -> None:
        async with http.ws_connect(f"{base}/ws?cursor={self.cursor}", max_msg_size=0) as socket:
            while not self.cut.is_set():
                message = await socket.receive(timeout=PATIENCE / 4)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                self._take(msgspec.json.decode(message.data))

    async def _sse(self, http: aiohttp.ClientSession, base: str) -> None:
        async with http.get(f"{base}/sse", headers={"Last-Event-ID": self.cursor}) as answer:
            name = "message"
            while not self.cut.is_set() and (line := await in_time(answer.content.readline(), PATIENCE / 4)):
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    said = msgspec.json.decode(line[6:])
                    self._take(said if name == "message" else {"control": name, **said})
                    name = "message"
            answer.close()

    async def _polling(self, http: aiohttp.ClientSession, base: str) -> None:
        while not self.cut.is_set():
            async with http.get(f"{base}/events?cursor={self.cursor}&limit=50&wait=2") as answer:
                if answer.status != 200:
                    return
                page = await answer.json()
                assert "gap" not in page, page
                for event in page["events"]:
                    self._take(event)
                self.cursor = page["next"]

    def _take(self, said: dict) -> None:
        if "control" in said:
            assert said["control"] != "gap", said
            if said["control"] == "bye" and said["reason"] == "events_missed":
                self.cursor = said["cursor"]
                self.record.append(self.cursor)
            return
        self.record.append((said["id"], said["subject"]))
        self.cursor = said["cursor"]
        self.taken += 1

    def seen(self, places: Mapping[Name, Place], layout: Layout) -> list[Name]:
        """The events of its record. What came after a cursor to which it was sent back came again, and counts once."""
        found: list[Name] = []
        for entry in self.record:
            if isinstance(entry, str):
                reached = _reached(entry, layout)
                found = [name for name in found if places[name] <= reached.get(places[name][:2], (0, 0, -1))]
            else:
                found.append(entry)
        return found


def _reached(token: str, layout: Layout) -> dict[tuple[int, int], Place]:
    """Up to where a cursor has read each shard; those before its generation to their ends."""
    parts = [(layout.by_epoch[part.epoch], part.sequence) for part in parse_cursor(token).parts]
    newest = max(shard.generation for shard, _ in parts)
    found = {(s.generation, s.index): (s.generation, s.index, n) for s, n in parts if s.generation == newest}
    for generation in layout.generations:
        if generation.number < newest:
            for shard in generation.shards:
                key = (shard.generation, shard.index)
                found[key] = (*key, 2**62)
    return found


def by_entity(names: Iterable[Name]) -> dict[str, list[Name]]:
    """The events of each entity of a domain, in their order."""
    found: dict[str, list[Name]] = {}
    for name in names:
        found.setdefault(".".join(name[1].split(".")[:2]), []).append(name)
    return found


def difference(seen: Sequence[Name], wanted: Sequence[Name]) -> str:
    """What of a record is lost, twice or out of order; empty where nothing is."""
    have, want = Counter(seen), Counter(wanted)
    lost, more = want - have, have - want
    if not lost and not more:
        ours, theirs = by_entity(seen), by_entity(wanted)
        wrong = {entity: len(ours[entity]) for entity in theirs if ours.get(entity) != theirs[entity]}
        return f"out of order: {wrong}" if wrong else ""
    where = {name: place for place, name in enumerate(wanted)}
    return (
        f"{lost.total()} lost {[(name, where.get(name)) for name in list(lost)[:5]]}, "
        f"{more.total()} twice {[(name, where.get(name)) for name in list(more)[:5]]} of {len(wanted)}"
    )


async def say(number: int, url: str, stop: asyncio.Event) -> list[str]:
    """A run of the SDK that speaks until it is told to end; what it said."""
    said: list[str] = []
    # What is not stored at its end is raised, and not left on the disk.
    settings = RunSettings(ttl=120.0, spool=False, drain=PATIENCE)
    async with Run(f"s{number}", url=url, domain="job", settings=settings) as run:
        while not stop.is_set():
            said.append(f"{len(said)} ")
            await run.chunk(said[-1])
            await asyncio.sleep(0.1)
    return said


async def everything(broker: Broker) -> tuple[dict[Name, Place], dict[Name, Event]]:
    """What the streams hold, generation by generation: where each event is, and it."""
    await broker.layouts.read_leader()
    places: dict[Name, Place] = {}
    events: dict[Name, Event] = {}
    for stream, messages in (await all_stored(broker)).items():
        shard = broker.layout.by_stream[stream]
        ends = broker.layout.generations[[g.number for g in broker.layout.generations].index(shard.generation)].ends
        assert ends is None or not messages or messages[-1].sequence <= ends[shard.index], f"{stream}: behind its end"
        for message in messages:
            event = decode(message.payload)
            name = (event.id, str(event.subject))
            assert name not in places, f"{name} is stored twice: {places[name]} and {stream} {message.sequence}"
            places[name], events[name] = (shard.generation, shard.index, message.sequence), event
    # Shards of one generation beside one another: of an entity's events there is one order.
    order = sorted(places, key=lambda name: (places[name][0], places[name][2]))
    return {name: places[name] for name in order}, events


async def check_published(broker: Broker, published: Published, said: list[list[str]]) -> dict[Name, Event]:
    """Compares what publishers were told, and what runs said, with what the streams hold; returns that."""
    places, events = await everything(broker)
    stored = by_entity(places)
    for entity, names in published.of.items():
        found = [name for name in stored[f"job.{entity}"] if name[1].endswith(".output")]
        assert found == names, f"{entity}: {difference(found, names)}"
    for number, pieces in enumerate(said):
        spoken = [events[name] for name in stored[f"job.s{number}"] if events[name].type == "streaming_chunk"]
        assert "".join(event.data["content"] for event in spoken) == "".join(pieces), f"run {number}"
    return events


async def check_readers(broker: Broker, readers: Sequence[Reader], reading: Iterable[asyncio.Future[None]]) -> None:
    """Waits until each reader's record is what the streams hold of its pattern."""

    async def same() -> bool:
        # What is compared is every event that there is.
        await asyncio.sleep(1.0)
        for task in reading:
            if task.done():
                task.result()
        places, _ = await everything(broker)
        layout = (await broker.events_state()).layout
        for reader in readers:
            wanted = [n for n in places if matches(reader.pattern, n[1]) and places[n] > (0, 0, reader.began)]
            wrong = difference(reader.seen(places, layout), wanted)
            assert not wrong, f"reader of {reader.pattern} by {reader.kinds}: {wrong}"
        return True

    await eventually(same)
