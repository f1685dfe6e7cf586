"""Works webhooks in a process of its own that may have few file descriptors: `python -m tests.edge.webhooks.poor`.

Takes the URL of a nats-server, how many descriptors there may be, and how many connections to receivers (0: as many as the
process finds right). Ends when its standard input does, and says how many posts were postponed.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from dataclasses import replace

from prometheus_client import REGISTRY

from edge.webhooks.queue.ordering import QueueSettings
from router.broker import Broker
from router.topology import TopologySettings
from tests.edge.webhooks.stage import LOCAL, QUICK, Process
from tests.waiting import unhurried


async def main(url: str, descriptors: int, connections: int) -> None:
    settings = replace(QUICK, worker=replace(QUICK.worker, queue=QueueSettings()))
    async with Broker(unhurried(url), "poor", TopologySettings(hooks_per_session=50)) as broker:
        process = Process(broker, settings, replace(LOCAL, max_connections=connections))
        await process.registry.ready.wait()
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        counted = REGISTRY.get_sample_value("edge_webhook_postponed_total", {"reason": "descriptors"})
        print(f"postponed {counted or 0:.0f}", flush=True)
        await process.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
