"""Measures the memory of an idle connection: what the edge grows by, session state included.

Sockets' own buffers are the kernel's and not counted.
"""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator

from ops.bench.report import ReportRow
from ops.bench.stand import TITLES, TRANSPORTS, Plan, Stand, resident, stand

# Opened first and kept: what is made once is not counted, and what they would give back would hide the next.
WARMING = 100


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Opens idle readers, on a stand of its own for each transport and size."""
    for count in (1000, 5000) if plan.full else (1000,):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for transport in TRANSPORTS:
            title = f"memory of an idle {TITLES[transport]} connection, of {count:,}"
            if count + WARMING + 200 > most:
                yield ReportRow("memory", title, note=f"left out: only {most:,} files may be open (ulimit -n)")
                continue
            async with stand() as place:
                grown = await _grown(place, transport, count)
                yield ReportRow("memory", title, "kB", [grown / count / 1000], note=f"{grown / 1e6:.1f} MB in all")


async def _grown(place: Stand, transport: str, count: int) -> int:
    path = f"{await place.session('job.bench-idle.said')}/{TRANSPORTS[transport]}"
    where = {"port": place.port, "path": path, "transport": transport}
    await place.audience.ask("open", group="warm", count=WARMING, **where)
    before = resident(place.edge_pid)
    await place.audience.ask("open", group="idle", count=count, **where)
    return resident(place.edge_pid) - before
