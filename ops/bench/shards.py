"""Measures what the shards of EVENTS cost one edge: publishing, delivery and replay with the one stream that an installation
begins with, and after `streams reshard` with one, two and four.

All are behind one nats-server, so what it shows is the price of shards and not what they are for, which are several servers
with a leader each. Each has servers of its own; they are measured in turn, and the figure is CPU of the edge alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from ops.bench.cores import Cores
from ops.bench.publish import Posting, posted
from ops.bench.replay import polled
from ops.bench.report import ReportRow, middle, number
from ops.bench.stand import RUNS, TITLES, TRANSPORTS, Plan, Stand, settle_on, stand
from router.broker import Broker
from router.earlier_ids import repeats_end
from router.nats.settings import BrokerSettings
from router.reshard import Reshard
from router.topology import TopologySettings

# How often the streams are resharded, and to how many: a generation of one shard is what is left of more.
LAYOUTS: Mapping[str, tuple[int, ...]] = {
    "one stream": (), "1 shard": (2, 1), "2 shards": (2,), "4 shards": (4,),
}  # fmt: skip
# Entities enough that every shard has some.
ENTITIES = 64
SUBJECTS = tuple(f"job.bench-{number:02}.said" for number in range(ENTITIES))
PATTERN = "job.*.said"
POSTS = (Posting(1, 64, subjects=SUBJECTS), Posting(100, 4, subjects=SUBJECTS))
READERS = 200
# So many to each reader a run, and the same to replay: enough CPU time to measure.
DELIVERED, REPLAYED = 2_000, 10_000
WARMING = 0.3
# A reshard may follow the last one once repeats are not looked for any more; no client of the benchmark repeats anything.
WINDOW = 0.1


class ShardRun(NamedTuple):
    """One run: CPU of the edge for each event or delivery, in µs, and how many there were a second."""

    cost: float
    rate: float
    busy: dict[str, float]


class ShardedStand:
    """Servers whose events are in so many streams."""

    def __init__(self, name: str, place: Stand) -> None:
        self.name = name
        self.place = place

    async def reshard(self, steps: tuple[int, ...]) -> None:
        """Puts the events into so many streams, one number after the other."""
        broker = Broker(BrokerSettings(self.place.nats_url), "bench", TopologySettings(dedup_window=WINDOW))
        await broker.open(apply=False)
        try:
            for shards in steps:
                await Reshard(broker, shards, lambda _: None).run()
                await asyncio.sleep(repeats_end(WINDOW))
        finally:
            await broker.close()
        await self.place.broker.layouts.read()

    async def publish(self, posting: Posting, seconds: float) -> ShardRun:
        """Posts events over HTTP."""
        run = await posted(self.place, posting, seconds)
        return ShardRun(1e6 / run.per_cpu, run.rate, run.busy)

    async def open(self, transport: str) -> None:
        """Opens readers of all subjects."""
        path = f"{await self.place.session(PATTERN)}/{TRANSPORTS[transport]}"
        asked = {"port": self.place.port, "path": path, "transport": transport, "count": READERS}
        await self.place.audience.ask("open", group=transport, **asked)

    async def deliver(self, transport: str, events: int) -> ShardRun:
        """Publishes as fast as the readers follow."""
        place = self.place
        await place.audience.ask("begin", group=transport)
        watch = place.watch()
        said, heard = await asyncio.gather(
            place.producer.ask("burst", subject=self._stored(), count=events, follow=True),
            place.audience.ask("collect", group=transport, events=events, seconds=60),
        )
        busy, spent, count = watch.shares(), watch.read()["edge"], events * READERS
        return ShardRun(spent / count * 1e6, count / (heard["ended"] - said["began"]), busy)

    async def replay(self, events: int) -> ShardRun:
        """Reads the first events that are stored by polling."""
        session = await self.place.session(PATTERN)
        watch = self.place.watch()
        seconds = await polled(self.place, session, events)
        return ShardRun(watch.read()["edge"] / events * 1e6, events / seconds, watch.shares())

    def _stored(self) -> dict[str, str]:
        """Where the events of each subject are stored."""
        layout = self.place.broker.layout
        return {subject: layout.shard_of(subject).prefix for subject in SUBJECTS}


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures one thing after the other, each with all layouts in turn."""
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(settle_on, os.sched_getaffinity(0), os.getpid())
        # That the layout has changed is no news here.
        logging.getLogger("router.layouts").setLevel(logging.ERROR)
        stands = [await stack.enter_async_context(_resharded(name, steps)) for name, steps in LAYOUTS.items()]
        settle_on(Cores.here().others, os.getpid())
        for posting in POSTS:
            for each in stands:
                await each.publish(posting, WARMING)
            found = [[await each.publish(posting, plan.seconds) for each in stands] for _ in range(RUNS)]
            for row in _rows(stands, _title(posting), found):
                yield row
        for transport in TRANSPORTS:
            for each in stands:
                await each.open(transport)
                await each.deliver(transport, DELIVERED // 4)
            events = int(DELIVERED * plan.seconds / Plan().seconds)
            found = [[await each.deliver(transport, events) for each in stands] for _ in range(RUNS)]
            for each in stands:
                await each.place.audience.ask("close", group=transport)
            for row in _rows(stands, f"a delivery to {READERS} {TITLES[transport]} readers", found):
                yield row
        found = [[await each.replay(REPLAYED) for each in stands] for _ in range(RUNS)]
        for row in _rows(stands, "an event replayed by polling", found):
            yield row


@contextlib.asynccontextmanager
async def _resharded(name: str, steps: tuple[int, ...]) -> AsyncIterator[ShardedStand]:
    cores = Cores.here()
    async with stand() as place:
        settle_on(cores.server, place.edge_pid)
        settle_on(cores.others, place.nats_pid, place.producer.pid, place.audience.pid)
        made = ShardedStand(name, place)
        await made.reshard(steps)
        yield made


def _title(posting: Posting) -> str:
    return "an event published over HTTP" + (f" in lists of {posting.size}" if posting.size > 1 else "")


def _rows(stands: list[ShardedStand], of: str, found: list[list[ShardRun]]) -> list[ReportRow]:
    rows = []
    for stand_, runs in zip(stands, zip(*found, strict=True), strict=True):
        note = f"{number(sorted(each.rate for each in runs)[len(runs) // 2])}/s"
        busy = middle(each.busy for each in runs)
        costs = [each.cost for each in runs]
        rows.append(ReportRow("shards", f"{of}, {stand_.name}", "µs CPU", costs, (), busy, note, stand_.name, of))
    return rows
