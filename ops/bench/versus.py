"""Compares Callboard with Centrifugo, Mercure, nchan and a Starlette loop: one event to ten readers, to 300, bursts, connections.

Every event is published over HTTP on one connection that is kept alive, and a request follows when the one before it is
answered and all readers have its events; at most 100 a second, so that nothing queues and costs are those of quiet events.
Callboard stores each event and acknowledges it; the others keep it in memory or nowhere. A burst is one request of ten events
to Callboard and Centrifugo, and ten requests in a row to the others, which know no batches. Where there are cores enough each
server has the first core, and readers, publisher, nats-server and the benchmark have the rest; the servers are measured in
turn, another one first in each round, and a figure is the median of the rounds: five of 210 events each for events one at a time.
CPU is that of the server's process alone: nats-server's is in the note, and that of the readers' program, which must be less than
what it measures, has rows of its own. Every reader's events are counted, and a figure is only printed where nothing was lost. A
fixed piece of work between the rounds (`calibration`) says how fast the machine was, and how busy with other things.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.bench.calibration import Calibration, calibrate
from ops.bench.calibration import row as calibration_row
from ops.bench.contestants import Contestant, contestants, settled
from ops.bench.cores import Cores
from ops.bench.report import ReportRow, middle, number
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, CpuWatch, Partner, Plan, partner, resident, settle_on
from ops.process.descriptors import raise_limit

RATE = 100.0
# Rounds of events one at a time, and events in each for each second of `--seconds`: 1,050 in all, of 1.5 seconds.
ROUNDS, SINGLES = 5, 140.0
FEW, MANY = 10, 300
BURST, BURST_RATE = 10, 20.0
# Bursts in a run for each second of `--seconds`.
BURSTS = 14.0
WARMING = 20
# Connections that are opened in a run, and before the first: what is made once is not counted.
OPENED, FIRST = 300, 100
# Files that a process has open beside connections.
SPARE = 200


class ComparisonTally:
    """The figures of all runs, by what was measured and of which server."""

    def __init__(self, order: list[str]) -> None:
        self._order = order
        self._units: dict[str, str] = {}
        self._runs: dict[tuple[str, str], list[float]] = {}
        self._busy: dict[tuple[str, str], list[Mapping[str, float]]] = {}
        self._beside: dict[tuple[str, str], list[float]] = {}
        self._told: set[str] = set()

    def add(
        self, title: str, unit: str, name: str, figure: float, busy: Mapping[str, float], broker: float | None = None
    ) -> None:
        """Takes one figure of one run; `broker` is what the message broker took beside it, in the same unit."""
        self._units[title] = unit
        self._runs.setdefault((title, name), []).append(figure)
        self._busy.setdefault((title, name), []).append(busy)
        if broker is not None:
            self._beside.setdefault((title, name), []).append(broker)

    def rows(self) -> Iterator[ReportRow]:
        """One row for each figure that was not told yet and each server, in their order."""
        for title, unit in self._units.items():
            if title in self._told:
                continue
            self._told.add(title)
            for name in self._order:
                key = title, name
                if key not in self._runs:
                    continue
                beside = self._beside.get(key)
                note = f"+{number(statistics.median(beside))} in nats-server" if beside else ""
                busy = middle(each for each in self._busy[key])
                yield ReportRow("versus", f"{title}: {name}", unit, self._runs[key], (), busy, note, name, title)


class PeerComparison:
    """The servers, those who read, and who publishes."""

    def __init__(self, servers: list[Contestant], audience: Partner, publisher: Partner, seconds: float) -> None:
        self._servers = servers
        self._audience = audience
        self._publisher = publisher
        self._seconds = seconds
        self.tally = ComparisonTally([each.name for each in servers])
        self.calibrations: list[Calibration] = []

    def _on(self, transport: str, first: int = 0) -> list[Contestant]:
        """The servers that have a transport, in their order, from another one on in each round."""
        having = [server for server in self._servers if transport in server.doors]
        first %= max(1, len(having))
        return having[first:] + having[:first]

    def _watch(self, server: Contestant) -> CpuWatch:
        pids = {"server": server.pid, "readers": self._audience.pid, "publisher": self._publisher.pid}
        if server.broker_pid is not None:
            pids["nats"] = server.broker_pid
        return CpuWatch(**pids)

    async def connect(self, transport: str) -> None:
        """Opens idle connections to each server, in turn; they stay, or the next would take the memory they gave back."""
        cost = f"CPU to open a {TITLES[transport]} connection"
        servers = self._on(transport)
        for server in servers:
            await self.open(server, transport, "first", FIRST)
        before = {pid: resident(pid) for server in servers for pid in server.pids}
        for run in range(RUNS):
            self.calibrations.append(calibrate())
            for server in self._on(transport, run):
                watch = self._watch(server)
                await self.open(server, transport, f"idle-{run}", OPENED)
                spent, busy = watch.read(), watch.shares()
                self.tally.add(cost, "ms", server.name, spent["server"] / OPENED * 1000, busy, _each(spent, OPENED))
        for server in servers:
            grown = [(resident(pid) - before[pid]) / OPENED / RUNS / 1000 for pid in server.pids]
            self.tally.add(
                f"memory of an idle {TITLES[transport]} connection", "kB", server.name, grown[0], {}, *grown[1:]
            )

    async def disconnect(self) -> None:
        """Closes what `connect` opened."""
        for transport in TRANSPORTS:
            for server in self._on(transport):
                for group in ("first", *(f"idle-{run}" for run in range(RUNS))):
                    await self.close(server, transport, group)
        await settled()

    async def deliver(self, transport: str, readers: int) -> None:
        """Publishes one event at a time to some readers of each server, in turn; then bursts, where they are many."""
        for server in self._publishing(transport):
            await self.open(server, transport, "readers", readers)
            await self.publish(server, transport, WARMING, 1, RATE)
        for round_ in range(ROUNDS):
            self.calibrations.append(calibrate())
            for server in self._publishing(transport, round_):
                await self._singles(server, transport, readers)
        if readers == MANY:
            for round_ in range(RUNS):
                for server in self._publishing(transport, round_):
                    await self._bursts(server, transport)
        for server in self._publishing(transport):
            await self.close(server, transport, "readers")
        await settled(0.1)

    def _publishing(self, transport: str, first: int = 0) -> list[Contestant]:
        return [server for server in self._on(transport, first) if server.publication is not None]

    async def _singles(self, server: Contestant, transport: str, readers: int) -> None:
        count = max(WARMING, int(self._seconds * SINGLES))
        watch = self._watch(server)
        heard = await self.publish(server, transport, count, 1, RATE, stamps=True)
        spent, busy, add = watch.read(), watch.shares(), self.tally.add
        crowd = f"{readers} {TITLES[transport]} readers"
        if readers == FEW:
            cost, theirs = (spent[name] / count * 1000 for name in ("server", "readers"))
            add(f"CPU an event to {crowd}", "ms", server.name, cost, busy, _each(spent, count))
            add(f"CPU an event of {crowd} themselves", "ms", server.name, theirs, busy)
        else:
            self._per_cpu(server, f"{crowd}, one at a time", count * readers, watch)
        add(f"publish to receive p99, {crowd}", "ms", server.name, heard["p99"], busy)

    async def _bursts(self, server: Contestant, transport: str) -> None:
        count = max(3, int(self._seconds * BURSTS))
        watch = self._watch(server)
        await self.publish(server, transport, count, BURST, BURST_RATE)
        self._per_cpu(server, f"{MANY} {TITLES[transport]} readers, bursts of {BURST}", count * BURST * MANY, watch)

    def _per_cpu(self, server: Contestant, title: str, deliveries: int, watch: CpuWatch) -> None:
        """Notes what a CPU-second of the server brought, and one of the readers' program, which is to bring more."""
        spent, busy = watch.read(), watch.shares()
        self.tally.add(title, "a CPU-s", server.name, deliveries / spent["server"], busy)
        self.tally.add(f"{title}: of the readers", "a CPU-s", server.name, deliveries / spent["readers"], busy)

    async def publish(
        self, server: Contestant, transport: str, count: int, burst: int, rate: float, stamps: bool = False
    ) -> dict[str, Any]:
        """Publishes so often, until every reader has every event; says how long they took."""
        assert server.publication is not None
        group, said = _group(server, transport, "readers"), server.publication(transport, burst)
        await self._audience.ask("begin", group=group)
        paced = self._publisher.ask(
            "pace", port=server.port, text=said.text, answers=said.requests, rate=rate, count=count
        )
        collected = self._audience.ask("collect", group=group, events=count * burst, seconds=60, stamps=stamps)
        return (await asyncio.gather(collected, paced))[0]

    async def open(self, server: Contestant, transport: str, group: str, count: int) -> None:
        """Connects readers, and returns once all of them listen."""
        door = server.doors[transport]
        await self._audience.ask(
            "open",
            group=_group(server, transport, group),
            port=server.port,
            path=door.path,
            transport=transport,
            count=count,
            ready=door.ready,
            hello=door.hello,
            counted=True,
            headers=door.headers,
        )

    async def close(self, server: Contestant, transport: str, group: str) -> None:
        """Lets readers go."""
        await self._audience.ask("close", group=_group(server, transport, group))


def _group(server: Contestant, transport: str, name: str) -> str:
    return f"{server.name}/{transport}/{name}"


def _each(spent: Mapping[str, float], count: int) -> float | None:
    """What the broker took for each of so many, in milliseconds."""
    return spent["nats"] / count * 1000 if "nats" in spent else None


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures connections first: what clients that went have left in a server's memory would hide what the next take."""
    most, cores = raise_limit(), Cores.here()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        servers, missing = await stack.enter_async_context(contestants(plan, cores))
        for name, why in missing.items():
            yield ReportRow("versus", f"versus {name}", note=why)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        progress = folder / "progress"
        progress.write_bytes(bytes(8))
        audience = await stack.enter_async_context(partner("audience", str(progress)))
        publisher = await stack.enter_async_context(partner("publisher", str(progress)))
        settle_on(cores.others, os.getpid(), audience.pid, publisher.pid)
        comparison = PeerComparison(servers, audience, publisher, plan.seconds)
        needed = sum(len(server.doors) for server in servers) * (FIRST + RUNS * OPENED) + SPARE
        if needed > most:
            yield ReportRow(
                "versus", "connections", note=f"left out: {needed:,} open files needed, {most:,} allowed (ulimit -n)"
            )
        else:
            for transport in TRANSPORTS:
                await comparison.connect(transport)
            await comparison.disconnect()
            for row in comparison.tally.rows():
                yield row
        for readers in (FEW, MANY):
            for transport in TRANSPORTS:
                await comparison.deliver(transport, readers)
                for row in comparison.tally.rows():
                    yield row
        yield calibration_row("versus", comparison.calibrations)
