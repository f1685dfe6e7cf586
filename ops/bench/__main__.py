"""Measures Callboard on this machine and prints one table: `make bench`.

    make bench                                        all but `shards`, `crowd` and `versus`, within six minutes
    make bench ARGS='--only deliver,latency --seconds 3'
    make bench ARGS='--only shards'                   what several streams of events cost one edge, within three minutes
    make bench ARGS='--only crowd --full'             100,000 connections over several edges; without --full 10,000
    make bench ARGS='--only versus'                   beside Centrifugo, Mercure, nchan and a Starlette loop, within five minutes
    make bench ARGS='--full --json'                   all, and larger crowds: 5,000 idle connections, storms of 2,000

Method. Every server is a process as people run it: nats-server from the package, `python -m ops edge --port`, nginx. Each
part has servers of its own, so that none finds what another left. Events come from one raw NATS socket (`producer`) that
packs an event once and patches its id and times; readers are raw sockets in one process (`audience`) that let the kernel
throw most bytes away, look into those of a few witnesses, and check that every reader was sent as many bytes as a witness
that has every event: a figure is only printed where nothing was lost. What is compared runs in turn, and each figure is
the median of at least three runs, with the lowest and the highest. CPU time is the process's own, by its kernel clock, so a
busy machine shows in the rates and not in the costs; the last column says who was how busy, hence who was the limit:
where the edge is far below 100 %, the rate is not the edge's. `deliver` keeps at most 1,000 events between producer and
readers, so that it measures delivery and not replay; `latency` keeps a rate whatever the readers do. Heartbeats and pings
are out of the way. `fanout` says an event when the last one has arrived, so each is a tick of its own. `versus`, `publish` and
`sdk` give the process that is measured the first core, and all else the others, where there are others.

The first line says which Python all of it ran on, and whether that was built with profile-guided optimisation.
Everything shares the machine's cores, the readers too: on two cores rates are far below what the edge could do alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from ops.bench import (
    agent,
    camera,
    camera_codecs,
    console,
    copies,
    crowd,
    delivery,
    dialects,
    fanout,
    filters,
    latency,
    memory,
    octane,
    publish,
    replay,
    report,
    routing,
    rules,
    sdk,
    shards,
    storm,
    tree,
    versus,
    webhooks,
)
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan
from router.errors import RouterError

Part = Callable[[Plan], AsyncIterator[ReportRow]]

PARTS: Mapping[str, Part] = {
    "fanout": fanout.run,
    "filters": filters.run,
    "publish": publish.run,
    "sdk": sdk.run,
    "deliver": delivery.run,
    "copies": copies.run,
    "dialects": dialects.run,
    "latency": latency.run,
    "memory": memory.run,
    "camera": camera.run,
    "codecs": camera_codecs.run,
    "octane": octane.run,
    "console": console.run,
    "agent": agent.run,
    "storm": storm.run,
    "replay": replay.run,
    "tree": tree.run,
    "webhooks": webhooks.run,
    "routing": routing.run,
    "rules": rules.run,
    "shards": shards.run,
    "crowd": crowd.run,
    "versus": versus.run,
}
# Run by name or with --full only: what is measured in six minutes is ours.
BY_NAME = ("shards", "crowd", "versus")


async def measure(parts: list[str], plan: Plan, quiet: bool) -> tuple[list[ReportRow], bool]:
    """Runs parts one after the other; a part that fails is said to have failed, and the others still run."""
    rows: list[ReportRow] = []
    whole = True
    for name in parts:
        try:
            async for row in PARTS[name](plan):
                rows.append(row)
                if not quiet:
                    print(report.line(row), flush=True)
        except (BenchError, RouterError, OSError, RuntimeError) as fault:
            whole = False
            rows.append(ReportRow(name, f"{name}: failed", note=str(fault)))
            print(report.line(rows[-1]) if not quiet else f"{name}: {fault}", file=sys.stderr, flush=True)
    return rows, whole


def main() -> int:
    """Reads what is asked for and prints the table; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="Measures Callboard on this machine.")
    by_name = f"some of {', '.join(PARTS)}, joined by commas; without it all but {', '.join(BY_NAME)}"
    parser.add_argument("--only", metavar="PARTS", help=f"{by_name}, and with --full all")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="how long a timed run takes (%(default)s)")
    parser.add_argument("--full", action="store_true", help="5,000 idle connections and storms of 2,000, too")
    parser.add_argument("--json", action="store_true", help="print JSON, with the figure of each run")
    parser.add_argument(
        "--nchan-module", type=Path, metavar="FILE", help="where nginx's nchan module is, if not installed"
    )
    parser.add_argument("--clip", type=Path, metavar="FILE", help="a film to compare H.264 and JPEG on, for `codecs`")
    given = parser.parse_args()
    usual = [name for name in PARTS if given.full or name not in BY_NAME]
    chosen = given.only.split(",") if given.only else usual
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not given.json:
        print(report.head(), flush=True)
    rows, whole = asyncio.run(
        measure(chosen, Plan(given.seconds, given.full, given.nchan_module, given.clip), given.json)
    )
    if given.json:
        print(report.as_json(rows))
    elif compared := report.matrix(rows):
        print(f"\n{compared}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
