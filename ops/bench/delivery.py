"""Measures delivery: one producer as fast as readers follow, each event to every reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, Plan, Stand, stand

CLIENTS = (1, 200)
# Enough to learn how fast it goes.
WARMING = 2000


@dataclass
class DeliveryRun:
    """One run: events a second, deliveries a CPU-second of the edge, and how many events went into one write."""

    rate: float
    per_cpu: float
    busy: dict[str, float]
    a_write: float
    reread: float


@dataclass
class ReaderCrowd:
    """Readers of one session, and the subject they hear."""

    place: Stand
    name: str
    transport: str
    clients: int
    subject: str
    events: int = WARMING

    async def burst(self, events: int) -> DeliveryRun:
        """Publishes as fast as it goes, until everyone has everything."""
        place = self.place
        await place.audience.ask("begin", group=self.name)
        before = await self._counts()
        watch = place.watch()
        said, heard = await asyncio.gather(
            place.producer.ask("burst", subject=self.subject, count=events, follow=True),
            place.audience.ask("collect", group=self.name, events=events, seconds=60),
        )
        busy, spent = watch.shares(), watch.read()
        writes, reread = (after - earlier for after, earlier in zip(await self._counts(), before, strict=True))
        return DeliveryRun(
            events / (heard["ended"] - said["began"]),
            events * self.clients / spent["edge"],
            busy,
            events * self.clients / max(writes, 1),
            reread,
        )

    async def _counts(self) -> tuple[float, float]:
        """Writes with events in them, and pages that were read from the store."""
        counter = self.place.counter
        return await counter("edge_publish_to_write_seconds_count"), await counter("edge_replay_reads_total")

    async def warm(self, seconds: float) -> None:
        """Finds out how many events a run of so many seconds needs."""
        await self.burst(WARMING)
        self.events = max(WARMING, int((await self.burst(WARMING)).rate * seconds))


@contextlib.asynccontextmanager
async def crowd(place: Stand, transport: str, clients: int) -> AsyncIterator[ReaderCrowd]:
    """Opens readers of a session of their own, and lets them go."""
    name = f"{transport}-{clients}"
    subject = f"job.bench-{name}.said"
    path = f"{await place.session(subject)}/{TRANSPORTS[transport]}"
    await place.audience.ask("open", group=name, port=place.port, path=path, transport=transport, count=clients)
    yield ReaderCrowd(place, name, transport, clients, subject)
    await place.audience.ask("close", group=name)


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures one and many readers on each transport, in turn."""
    async with stand() as place:
        for clients in CLIENTS:
            async with contextlib.AsyncExitStack() as stack:
                crowds = [await stack.enter_async_context(crowd(place, each, clients)) for each in TRANSPORTS]
                runs: dict[str, list[DeliveryRun]] = {each.transport: [] for each in crowds}
                for each in crowds:
                    await each.warm(plan.seconds)
                for _ in range(RUNS):
                    for each in crowds:
                        runs[each.transport].append(await each.burst(each.events))
            for transport, found in runs.items():
                yield _row(transport, clients, found)


def _row(transport: str, clients: int, runs: list[DeliveryRun]) -> ReportRow:
    a_write = middle({"": each.a_write} for each in runs)[""]
    note = f"{a_write:.0f} events a write"
    if reread := sum(each.reread for each in runs):
        note += f"; readers fell behind: {reread:,.0f} pages were read again"
    return ReportRow(
        "deliver",
        f"delivered to {clients} {TITLES[transport]} client{'s' if clients > 1 else ''}",
        "events/s",
        [each.rate * clients for each in runs],
        [each.per_cpu for each in runs],
        middle(each.busy for each in runs),
        note,
    )
