"""Measures a crowd: tens of thousands of connections over as many edges as the limit of open files asks for.

Half of them are WebSockets and half SSE streams. Each edge is a process, and so is the audience that reads it: each end of a
connection is a file of its own process. Pings are out of the way, as the audience answers none; heartbeats are as they are
by default. When an edge dies, two others take its connections, so each has room for half as many more.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ops.bench.report import ReportRow
from ops.bench.stand import RUNS, TRANSPORTS, Partner, Plan, cpu_seconds, partner, resident, running_edge
from ops.process.children import end_with_parent
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port

CROWD, SMALL = 100_000, 10_000
# Files that an edge has open beside the connections.
SPARE = 300
# An edge that has died needs two others.
FEWEST, MOST = 3, 24
# Opened first and kept: what is made once, by the first connections, is not counted as theirs.
WARMING = 20
# So many connections are opened before the first is waited for, by each audience.
AT_ONCE = 100
# As they are without a setting: the period grows with the crowd.
HEARTBEAT = {"CALLBOARD_EDGE_SESSION_HEARTBEAT": "none"}
# The longest period.
IDLE_SECONDS = 48
EVENT_SECONDS = 30.0
SUBJECT = "job.bench-crowd.said"


def edges_for(count: int, files: int) -> int:
    """How many edges such a crowd needs where a process may have so many files, with room for half of a dead one's."""
    each = (files - SPARE) * 2 // 3
    return max(FEWEST, math.ceil(count / each)) if each > 0 else MOST + 1


@dataclass(frozen=True)
class CrowdedEdge:
    """One edge, and the audience that reads it."""

    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    port: int
    audience: Partner

    @property
    def pid(self) -> int:
        return self.process.pid

    async def open(self, name: str, paths: dict[str, str], count: int, query: str = "") -> None:
        """Opens so many connections of each transport, until each has its `ready`."""
        for transport, path in paths.items():
            await self.audience.ask(
                "open",
                group=f"{name}-{transport}",
                port=self.port,
                path=path + query,
                transport=transport,
                count=count,
                at_once=AT_ONCE,
                # Heartbeats come to each at another time, so bytes do not say who has had an event.
                counted=True,
            )

    async def say(self) -> str:
        """Publishes an event over HTTP that the audience counts, and returns its cursor."""
        async with self.http.post("/events", json={"subject": SUBJECT, "data": {"at": 1}}) as answer:
            return str((await answer.json())["cursor"])

    async def collect(self, name: str, events: int) -> float:
        """Waits until each connection has so many events since all were opened; returns when the last had."""
        ended = [
            (await self.audience.ask("collect", group=f"{name}-{each}", events=events, seconds=EVENT_SECONDS))["ended"]
            for each in TRANSPORTS
        ]
        return float(max(ended))


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Opens a crowd, lets it idle, says events to it, and kills one of its edges."""
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
        edges, paths, producer = await _started(stack, nats.url, folder, size)
        share = count // size // len(TRANSPORTS)
        async for row in _measured(edges, paths, producer, share):
            yield row


async def _started(
    stack: contextlib.AsyncExitStack, url: str, folder: Path, size: int
) -> tuple[list[CrowdedEdge], dict[str, str], Partner]:
    """So many edges with their audiences, the path of a stream on each transport, and a producer."""
    edges: list[CrowdedEdge] = []
    for number in range(size):
        port = free_port()
        edge, http = await stack.enter_async_context(running_edge(url, folder, port, HEARTBEAT))
        progress = folder / f"progress-{number}"
        progress.write_bytes(bytes(8))
        audience = await stack.enter_async_context(partner("audience", str(progress)))
        edges.append(CrowdedEdge(edge, http, port, audience))
    async with http.post("/callbacks/sessions", json={"subjects": [SUBJECT]}) as answer:
        session = f"/callbacks/sessions/{(await answer.json())['session_id']}"
    paths = {transport: f"{session}/{way}" for transport, way in TRANSPORTS.items()}
    (folder / "progress").write_bytes(bytes(8))
    return edges, paths, await stack.enter_async_context(partner("producer", url, str(folder / "progress")))


async def _measured(
    edges: Sequence[CrowdedEdge], paths: dict[str, str], producer: Partner, share: int
) -> AsyncIterator[ReportRow]:
    count = share * len(edges) * len(paths)
    title = f"{count:,} connections, half WebSocket, half SSE, over {len(edges)} edges"
    await asyncio.gather(*(edge.open("warm", paths, WARMING) for edge in edges))
    began, cpu, memory = time.monotonic(), _cpu(edges), _memory(edges)
    await asyncio.gather(*(edge.open("crowd", paths, share) for edge in edges))
    opened, spent, grown = time.monotonic() - began, _cpu(edges) - cpu, _memory(edges) - memory
    note = f"{spent / count * 1000:.3f} ms of CPU each"
    yield ReportRow("crowd", title, "s", [opened], note=note)
    yield ReportRow("crowd", "memory of each in its edge", "kB", [grown / count / 1000], note=f"{grown / 1e6:.0f} MB")
    seconds = await _idle(edges)
    yield ReportRow(
        "crowd",
        "idle, with heartbeats, share of a core",
        "%",
        [100 * sum(seconds) / len(seconds)],
        note=f"in the quietest second {100 * min(seconds):.1f} %",
    )
    runs, busy = await _events(edges, producer)
    note = f"{busy * 1e6 / count:.1f} µs of edge CPU each"
    yield ReportRow("crowd", "from an event's publication until all have it", "s", runs, note=note)
    yield await _death(edges, paths, producer, share)


async def _idle(edges: Sequence[CrowdedEdge]) -> list[float]:
    """CPU seconds of all edges in each second of a while in which nothing happens."""
    found: list[float] = []
    for _ in range(IDLE_SECONDS):
        began, before = time.monotonic(), _cpu(edges)
        await asyncio.sleep(1.0)
        found.append((_cpu(edges) - before) / (time.monotonic() - began))
    return found


async def _events(edges: Sequence[CrowdedEdge], producer: Partner) -> tuple[list[float], float]:
    """How long it took until all had each of some events, and what one took of the edges' CPU."""
    runs: list[float] = []
    before = _cpu(edges)
    for number in range(1, RUNS + 1):
        waiting = asyncio.gather(*(edge.collect("crowd", number) for edge in edges))
        said = await producer.ask("burst", subject=SUBJECT, count=1, follow=False)
        runs.append(max(await waiting) - said["began"])
    return runs, (_cpu(edges) - before) / RUNS


async def _death(edges: Sequence[CrowdedEdge], paths: dict[str, str], producer: Partner, share: int) -> ReportRow:
    """Kills an edge, and brings its connections back on two others, each behind the last event that it has."""
    dead, *others = edges
    cursor = await others[-1].say()
    await asyncio.gather(*(edge.collect("crowd", RUNS + 1) for edge in edges))
    began, before = time.monotonic(), _cpu(others)
    dead.process.kill()
    await dead.process.wait()
    taking = others[:2]
    half = math.ceil(share / len(taking))
    await asyncio.gather(*(edge.open("back", paths, half, f"?cursor={cursor}") for edge in taking))
    back, spent = time.monotonic() - began, _cpu(others) - before
    said = await producer.ask("burst", subject=SUBJECT, count=1, follow=False)
    ended = max(await asyncio.gather(*(edge.collect("back", 1) for edge in taking)))
    count = share * len(paths)
    note = f"{spent / count * 1000:.3f} ms of CPU each; an event to them took {ended - said['began']:.2f} s"
    return ReportRow("crowd", f"{count:,} connections of a dead edge back on two others", "s", [back], note=note)


def _cpu(edges: Sequence[CrowdedEdge]) -> float:
    return sum(cpu_seconds(edge.pid) for edge in edges)


def _memory(edges: Sequence[CrowdedEdge]) -> int:
    return sum(resident(edge.pid) for edge in edges)
