"""This file is where the benchmarks run an edge as a child: `python -m ops.bench.serving NATS_URL lane|plain`.

It prints `port N` once it serves, and answers every line on its input with the CPU seconds and the resident bytes it has.
The end of its input is its end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import uvloop

from edge.server import bind, serve
from edge.session import SessionSettings
from edge.settings import EdgeSettings
from router.connection import BrokerSettings
from router.topology import TopologySettings


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _answer(stop: asyncio.Event) -> None:
    while await asyncio.to_thread(sys.stdin.readline):
        print(time.process_time(), resident(), flush=True)
    stop.set()


async def main(nats: str, way: str) -> None:
    """Serves until its input ends."""
    listener = bind("127.0.0.1", 0)
    stop = asyncio.Event()
    settings = EdgeSettings(
        port=listener.getsockname()[1],
        lane=way == "lane",
        drain=0.0,
        # Out of the way of what is measured.
        session=SessionSettings(heartbeat=3600),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_answer(stop))
        await serve(
            settings,
            BrokerSettings(nats),
            TopologySettings(),
            stop=stop,
            listener=listener,
            ready=lambda port: print("port", port, flush=True),
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(main(sys.argv[1], sys.argv[2]))
