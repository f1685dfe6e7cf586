"""Measures the memory of an idle connection: what the edge grows by, session state included.

Of each dialect there are 900 by server-sent events (channels: by WebSocket), nine of each of 100 runs that have begun and have
another reader already. Sockets' own buffers are the kernel's and not counted.
"""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator

from ops.bench.dialects import CONVERSATIONS, READERS, RUNS, Conversation
from ops.bench.fanout import counting_readers
from ops.bench.report import ReportRow
from ops.bench.stand import TITLES, TRANSPORTS, Plan, Stand, resident, stand

# Opened first and kept: what is made once is not counted, and what they would give back would hide the next.
WARMING = 100
# Files that the edge has open beside the connections.
SPARE = 200


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Opens idle readers, on a stand of its own for each transport and size."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for count in (1000, 5000) if plan.full else (1000,):
        for transport in TRANSPORTS:
            title = f"memory of an idle {TITLES[transport]} connection, of {count:,}"
            if count + WARMING + SPARE > most:
                yield _left_out(title, most)
                continue
            async with stand() as place:
                grown = await _grown(place, transport, count)
                yield ReportRow("memory", title, "kB", [grown / count / 1000], note=f"{grown / 1e6:.1f} MB in all")
    for spoken in CONVERSATIONS:
        count, title = RUNS * (READERS - 1), f"memory of an idle reader of a run: {spoken.dialect}"
        if most < RUNS * READERS + SPARE:
            yield _left_out(title, most)
            continue
        async with stand() as place:
            grown = await _grown_by_runs(place, spoken)
            yield ReportRow("memory", title, "kB", [grown / count / 1000], note=f"{grown / 1e6:.1f} MB for {count:,}")


def _left_out(title: str, most: int) -> ReportRow:
    return ReportRow("memory", title, note=f"left out: only {most:,} files may be open (ulimit -n)")


async def _grown(place: Stand, transport: str, count: int) -> int:
    path = f"{await place.session('job.bench-idle.said')}/{TRANSPORTS[transport]}"
    where = {"port": place.port, "path": path, "transport": transport}
    await place.audience.ask("open", group="warm", count=WARMING, **where)
    before = resident(place.edge_pid)
    await place.audience.ask("open", group="idle", count=count, **where)
    return resident(place.edge_pid) - before


async def _grown_by_runs(place: Stand, spoken: Conversation) -> int:
    """What all readers but the first of each run take, which bring what is kept once for all readers of the run."""
    async with counting_readers() as readers:
        paths = ",".join(await spoken.addresses(place, RUNS))
        where = f"127.0.0.1 {place.port} {paths} {spoken.transport}"
        await readers.ask(f"open first {where} 1")
        before = resident(place.edge_pid)
        await readers.ask(f"open others {where} {READERS - 1}")
        return resident(place.edge_pid) - before
