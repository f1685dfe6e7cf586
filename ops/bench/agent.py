"""Measures the memory of a run in the agent actor: what the actor's process grows by at 10,000 runs that go on.

Each run has begun, is halfway, and its producer holds a lease. What `nats-server` keeps of it is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan, process, resident
from ops.launch import own_argv
from ops.process.children import end_with_parent
from router.broker import Broker
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.subject import STORED
from router.topology import EVENTS, LEASES

RUNS = 10_000
# Begun first and kept: what is made once is not counted.
WARMING = 200
AT_ONCE = 100
# Longer than the benchmark: nobody refreshes the leases.
LEASE_SECONDS = 3600.0
PATIENCE_SECONDS = 300.0


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Begins runs on a nats-server and an actor of its own."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()), end_with_parent())
        await nats.start()
        stack.push_async_callback(nats.stop)
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "bench"))
        variables = {"CALLBOARD_NATS_URL": nats.url, "CALLBOARD_DATA_DIR": str(folder), "CALLBOARD_LOG_LEVEL": "error"}
        agent = await stack.enter_async_context(process(*own_argv("actor", "agent"), variables=variables))
        # It reads what is published from its first start on.
        await until(lambda: _reads(broker), "the agent actor does not start")
        await begin(broker, "warm", WARMING)
        before = resident(agent.pid)
        await begin(broker, "run", RUNS, beside=WARMING)
        grown = resident(agent.pid) - before
        yield ReportRow(
            "agent", f"memory of a run in the agent actor, of {RUNS:,}", "kB", [grown / RUNS / 1000],
            note=f"{grown / 1e6:.1f} MB in all",
        )  # fmt: skip


async def begin(broker: Broker, name: str, count: int, beside: int = 0) -> None:
    """Begins runs `beside` others, and returns once the actor has published the state of each. Raises BenchError."""
    for at in range(0, count, AT_ONCE):
        await asyncio.gather(*(_begin_one(broker, f"{name}-{n}") for n in range(at, min(at + AT_ONCE, count))))

    async def told() -> bool:
        states = await broker.stream(EVENTS).subjects(f"{STORED}agent.*.state")
        return len(states.subjects) >= count + beside

    await until(told, "the agent actor does not publish the states of all runs")


async def until(true: Callable[[], Awaitable[bool]], fault: str) -> None:
    """Waits for something. Raises BenchError."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await true():
        if asyncio.get_running_loop().time() > deadline:
            raise BenchError(fault)
        await asyncio.sleep(0.2)


async def _reads(broker: Broker) -> bool:
    return "actor-agent" in await broker.stream(EVENTS).consumer_names()


async def _begin_one(broker: Broker, run: str) -> None:
    value = {"ttl": LEASE_SECONDS, "incarnation": "one", "via": "nats"}
    await Bucket(broker.connection, LEASES).put(f"run.agent.{run}", msgspec.json.encode(value), LEASE_SECONDS)
    await broker.publish(Event.new(f"agent.{run}.workflow_start", {"name": f"Run {run}", "incarnation": "one"}))
    halfway = {"progress": 0.5, "current_step": 5, "total_steps": 10, "message": "halfway there"}
    await broker.publish(Event.new(f"agent.{run}.progress", halfway))
