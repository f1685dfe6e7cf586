"""Measures a crowd: tens of thousands of connections over as many edges as the limit of open files asks for.

Half of them are WebSockets and half SSE streams, all with tokens: each of some hundred users has a session of their own. Each edge is a
process, and so are the readers of each, which come from a loopback address of their own: each end of a connection is a file of its
own process. Heartbeats and pings are as they are by default; the readers answer pings while nothing else happens, and leave the few
of the shorter times before and after that unanswered. When an edge dies, two others take its connections, so each has room for half as many
more.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from edge.auth.grants import Grants
from edge.auth.token import mint
from edge.hub.heartbeats import LEVEL_READERS, MULTIPLES, SHORTEST
from edge.settings import FastPathSettings
from ops.bench.report import ReportRow
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, Partner, Plan, cpu_seconds, partner, resident, running_edge
from ops.process.children import end_with_parent
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port

CROWD, SMALL = 100_000, 10_000
# Come back to one edge, all at once.
STORM = 10_000
USERS = 200
# Files that an edge has open beside the connections.
SPARE = 300
# An edge that has died needs two others.
FEWEST, MOST = 3, 24
# Opened first and kept: what is made once, by the first connections, is not counted as theirs. Tokens of other users are verified later.
WARMING = 20
# So many connections are opened before the first is waited for, by the readers of each edge.
AT_ONCE = 100
# As they are without a setting: the period grows with the crowd.
USUAL = {"CALLBOARD_EDGE_SESSION_HEARTBEAT": "none", "CALLBOARD_EDGE_LANES_PING": f"{FastPathSettings().ping:g}"}
# The longest period.
IDLE_SECONDS = 54
# After the start, in which roles find their leaders; and before anyone has come.
STARTING_SECONDS = 10
BASE_SECONDS = 6
EVENT_SECONDS = 30.0
SUBJECT = "job.bench-crowd.said"


def edges_for(count: int, files: int) -> int:
    """How many edges such a crowd needs where a process may have so many files, with room for half of a dead one's."""
    each = (files - SPARE) * 2 // 3
    return max(FEWEST, math.ceil(count / each)) if each > 0 else MOST + 1


def heartbeats_a_second(readers: int) -> float:
    """How many heartbeats an edge sends to so many readers."""
    rate, left = 0.0, readers
    for multiple in MULTIPLES:
        here = left if multiple == MULTIPLES[-1] else min(left, LEVEL_READERS)
        rate, left = rate + here / (SHORTEST * multiple), left - here
    return rate


@dataclass(frozen=True)
class CrowdedEdge:
    """One edge, and the readers that it has."""

    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    port: int
    readers: Partner
    # The loopback address that its readers come from.
    source: str

    @property
    def pid(self) -> int:
        return self.process.pid

    async def open(
        self, group: str, doors: Sequence[Mapping[str, Any]], count: int, at_once: int = AT_ONCE, query: str = ""
    ) -> dict[str, Any]:
        """Opens so many connections through these doors in turn, until each has its `ready`; says how long they waited."""
        return await self.readers.ask(
            "open",
            group=group,
            port=self.port,
            doors=[{**door, "path": door["path"] + query} for door in doors],
            count=count,
            at_once=at_once,
            source=self.source,
        )

    async def answer(self, seconds: float) -> int:
        """Answers the pings of a while; returns how many there were."""
        return int((await self.readers.ask("answer", seconds=seconds))["pings"])

    async def drain(self, group: str) -> None:
        """Reads the heartbeats of a long while, so that nobody does so while an event is measured."""
        await self.readers.ask("drain", group=group)

    async def say(self) -> str:
        """Publishes an event over HTTP that the readers count, and returns its cursor."""
        async with self.http.post("/events", json={"subject": SUBJECT, "data": {"at": 1}}) as answer:
            return str((await answer.json())["cursor"])

    async def collect(self, group: str) -> float:
        """Waits until each connection has one more event; returns when the last had."""
        return float((await self.readers.ask("collect", group=group, seconds=EVENT_SECONDS))["ended"])


@dataclass(frozen=True)
class CrowdStand:
    """The edges, the doors of each transport, one a user, and a producer."""

    edges: Sequence[CrowdedEdge]
    doors: Mapping[str, Sequence[Mapping[str, Any]]]
    producer: Partner

    @property
    def all_doors(self) -> list[Mapping[str, Any]]:
        """Those of all transports, in turn."""
        return [door for doors in zip(*self.doors.values(), strict=True) for door in doors]

    async def event(self, edges: Sequence[CrowdedEdge], group: str) -> float:
        """Says an event; returns how many seconds it took until all connections of these edges had it."""
        waiting = asyncio.gather(*(edge.collect(group) for edge in edges))
        said = await self.producer.ask("burst", subject=SUBJECT, count=1, follow=False)
        return max(await waiting) - float(said["began"])


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Opens a crowd, lets it idle, says events to it, kills one of its edges, and lets another one's readers come back at once."""
    count = CROWD if plan.full else SMALL
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    size = edges_for(count, files)
    if size > MOST:
        yield ReportRow(
            "crowd", f"a crowd of {count:,}", note=f"left out: only {files:,} files may be open (ulimit -n)"
        )
        return
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()), end_with_parent())
        await nats.start()
        stack.push_async_callback(nats.stop)
        place = await _started(stack, nats.url, folder, size)
        async for row in _measured(place, count // size):
            yield row


async def _started(stack: contextlib.AsyncExitStack, url: str, folder: Path, size: int) -> CrowdStand:
    edges: list[CrowdedEdge] = []
    secret = secrets.token_hex(32)
    operator = mint(secret, "bench", Grants(read=(">",), publish=(">",), operate=True), 3600, None, None)
    variables = {**USUAL, "CALLBOARD_JWT_SECRET": secret}
    for number in range(size):
        port = free_port()
        edge, http = await stack.enter_async_context(running_edge(url, folder, port, variables))
        http.headers.update(_bearer(operator))
        readers = await stack.enter_async_context(partner("crowd_readers"))
        edges.append(CrowdedEdge(edge, http, port, readers, f"127.0.1.{number + 1}"))
    doors: dict[str, list[Mapping[str, Any]]] = {transport: [] for transport in TRANSPORTS}
    for number in range(USERS):
        headers = _bearer(mint(secret, f"user-{number}", Grants(read=("job.>",)), 3600, None, None))
        async with edges[-1].http.post("/callbacks/sessions", json={"subjects": [SUBJECT]}, headers=headers) as answer:
            session = (await answer.json())["session_id"]
        lines = [f"{name}: {value}" for name, value in headers.items()]
        for transport, way in TRANSPORTS.items():
            doors[transport].append(
                {"transport": transport, "path": f"/callbacks/sessions/{session}/{way}", "headers": lines}
            )
    (folder / "progress").write_bytes(bytes(8))
    producer = await stack.enter_async_context(partner("producer", url, str(folder / "progress")))
    return CrowdStand(edges, doors, producer)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _measured(place: CrowdStand, share: int) -> AsyncIterator[ReportRow]:
    """Measures with so many connections of each edge, of all transports together."""
    edges, count = place.edges, share * len(place.edges)
    await asyncio.gather(*(edge.open("warm", place.all_doors, WARMING) for edge in edges))
    await asyncio.sleep(STARTING_SECONDS)
    base = await _idle(edges, BASE_SECONDS)
    async for row in _opening(place, share):
        yield row
    answering = [asyncio.create_task(edge.answer(IDLE_SECONDS)) for edge in edges]
    seconds = await _idle(edges, IDLE_SECONDS)
    pings = sum(await asyncio.gather(*answering))
    idle, alone = sum(seconds) / len(seconds), sum(base) / len(base)
    beats = heartbeats_a_second(share) * len(edges)
    yield ReportRow(
        "crowd",
        "idle, with heartbeats and pings, share of a core",
        "%",
        [100 * idle],
        note=f"{100 * alone:.1f} % without a crowd; {(idle - alone) * 1e6 / beats:.0f} µs each of {beats:.0f} heartbeats a second, "
        f"of which {pings / IDLE_SECONDS:.0f} asked WebSockets for an answer and had it",
    )
    await asyncio.gather(*(edge.drain("crowd") for edge in edges))
    before, reading = _cpu(edges), _cpu_of_readers(edges)
    runs = [await place.event(edges, "crowd") for _ in range(RUNS)]
    deliveries = RUNS * count
    note = f"{(_cpu(edges) - before) * 1e6 / deliveries:.1f} µs of edge CPU each"
    note += f", {(_cpu_of_readers(edges) - reading) * 1e6 / deliveries:.1f} µs of its reader's"
    yield ReportRow("crowd", "from an event's publication until all have it", "s", runs, note=note)
    yield await _death(place, share)
    yield await _storm(place)


async def _opening(place: CrowdStand, share: int) -> AsyncIterator[ReportRow]:
    """Opens the crowd, one transport after the other."""
    edges = place.edges
    memory, began, costs = _memory(edges), time.monotonic(), []
    for transport, doors in place.doors.items():
        before, each = _cpu(edges), share // len(place.doors)
        await asyncio.gather(*(edge.open("crowd", doors, each) for edge in edges))
        costs.append(f"{TITLES[transport]} {(_cpu(edges) - before) * 1000 / (each * len(edges)):.3f}")
    opened, grown = time.monotonic() - began, _memory(edges) - memory
    count = share // len(place.doors) * len(place.doors) * len(edges)
    title = f"{count:,} connections, half WebSocket, half SSE, over {len(edges)} edges"
    note = f"ms of CPU each: {', '.join(costs)}; with tokens of {USERS} users, from {len(edges)} addresses"
    yield ReportRow("crowd", title, "s", [opened], note=note)
    yield ReportRow("crowd", "memory of each in its edge", "kB", [grown / count / 1000], note=f"{grown / 1e6:.0f} MB")


async def _idle(edges: Sequence[CrowdedEdge], seconds: int) -> list[float]:
    """CPU seconds of all edges in each second of a while in which nothing happens."""
    found: list[float] = []
    for _ in range(seconds):
        began, before = time.monotonic(), _cpu(edges)
        await asyncio.sleep(1.0)
        found.append((_cpu(edges) - before) / (time.monotonic() - began))
    return found


async def _death(place: CrowdStand, share: int) -> ReportRow:
    """Kills an edge, and brings its connections back on two others, each behind the last event that it has."""
    dead, *others = place.edges
    cursor = await others[-1].say()
    await asyncio.gather(*(edge.collect("crowd") for edge in place.edges))
    began, before = time.monotonic(), _cpu(others)
    dead.process.kill()
    await dead.process.wait()
    taking = others[:2]
    half = math.ceil(share / len(taking))
    query = f"?cursor={cursor}"
    opened = await asyncio.gather(*(edge.open("back", place.all_doors, half, query=query) for edge in taking))
    back, spent = time.monotonic() - began, _cpu(others) - before
    note = f"{spent / (half * len(taking)) * 1000:.3f} ms of CPU each, what else the others take over included; "
    note += f"nobody waited longer than {max(each['longest'] for each in opened):.2f} s; "
    note += f"an event to them took {await place.event(taking, 'back'):.2f} s"
    return ReportRow(
        "crowd", f"{half * len(taking):,} connections of a dead edge back on two others", "s", [back], note=note
    )


async def _storm(place: CrowdStand) -> ReportRow:
    """Closes all connections of an edge, as a proxy that is started anew does, and lets its readers come back all at once."""
    edge = place.edges[-1]
    cursor = await edge.say()
    await edge.readers.ask("close")
    before = cpu_seconds(edge.pid)
    found = await edge.open("storm", place.all_doors, STORM, at_once=STORM, query=f"?cursor={cursor}")
    note = f"{(cpu_seconds(edge.pid) - before) / STORM * 1000:.3f} ms of CPU each, the others' end included; "
    note += f"the last waited {found['longest'] - found['shortest']:.2f} s longer than the first"
    return ReportRow("crowd", f"{STORM:,} readers back on one edge, all at once", "s", [found["seconds"]], note=note)


def _cpu(edges: Sequence[CrowdedEdge]) -> float:
    return sum(cpu_seconds(edge.pid) for edge in edges)


def _cpu_of_readers(edges: Sequence[CrowdedEdge]) -> float:
    return sum(cpu_seconds(edge.readers.pid) for edge in edges)


def _memory(edges: Sequence[CrowdedEdge]) -> int:
    return sum(resident(edge.pid) for edge in edges)
