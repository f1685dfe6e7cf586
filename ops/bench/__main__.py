"""This file is where `make bench` measures: publishing, delivery, memory and fan-out, each against real processes.

Method: nats-server and the edge are processes of their own; readers live in a third, count bytes in large reads and parse
nothing. Rates are medians of five runs; CPU is the edge's own (`process_time`), so that a busy machine shows in the rate
and not in the cost. `python -m ops.bench --only publish,deliver,memory,fanout`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from ops.bench import fanout
from ops.bench.fanout import PAYLOAD, Child, child
from router.broker import Broker
from router.connection import BrokerSettings
from router.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.event import Event

RUNS = 5
PARTS = ("publish", "deliver", "memory", "fanout")
IDLE = 1000


class Stand:
    """A nats-server, an edge and the readers, for one benchmark."""

    def __init__(self, broker: Broker, edge: Child, port: int, readers: Child) -> None:
        self.broker = broker
        self.edge = edge
        self.port = port
        self.readers = readers

    async def session(self, http: aiohttp.ClientSession, subject: str) -> str:
        async with http.post("/callbacks/sessions", json={"subjects": [subject]}) as answer:
            return str((await answer.json())["session_id"])


@contextlib.asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        nats = EmbeddedServer(EmbeddedSettings(Path(folder), free_port()))
        await nats.start()
        stack.push_async_callback(nats.stop)
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "bench"))
        edge = await stack.enter_async_context(child("-m", "ops.bench.serving", nats.url, "lane"))
        port = int((await edge.line())[1])
        readers = await stack.enter_async_context(child("-m", "ops.bench.readers"))
        yield Stand(broker, edge, port, readers)


def row(what: str, figure: str, more: str = "") -> None:
    print(f"{what:52}{figure:>18}  {more}", flush=True)


async def publish(place: Stand) -> None:
    """Events stored and acknowledged, by the broker's seam and over HTTP."""

    async def timed(count: int, beside: int) -> float:
        began = time.perf_counter()
        for _ in range(count // beside):
            events = [Event.new("job.bench.said", PAYLOAD) for _ in range(beside)]
            await asyncio.gather(*(place.broker.publish(event) for event in events))
        return count / (time.perf_counter() - began)

    for beside in (1, 256):
        rates = [await timed(1000 if beside == 1 else 5120, beside) for _ in range(RUNS)]
        row(f"published with acknowledgement, {beside} in flight", f"{statistics.median(rates):,.0f}/s", "from Python")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{place.port}") as http:
        for size, beside in ((1, 32), (100, 4)):
            body = [{"subject": "job.bench.said", "data": PAYLOAD}] * size
            rates, costs = [], []
            for _ in range(RUNS):
                cpu, began, rounds = (
                    (await place.edge.ask("cpu"))[0],
                    time.perf_counter(),
                    640 // beside // (4 if size > 1 else 1),
                )
                for _ in range(rounds):
                    await asyncio.gather(*(_post(http, body) for _ in range(beside)))
                count = rounds * beside * size
                rates.append(count / (time.perf_counter() - began))
                costs.append(count / ((await place.edge.ask("cpu"))[0] - cpu))
            figure = f"{statistics.median(rates):,.0f}/s"
            row(
                f"POST /events, {size} an answer, {beside} at once",
                figure,
                f"{statistics.median(costs):,.0f} per CPU-second of the edge",
            )


async def _post(http: aiohttp.ClientSession, body: object) -> None:
    async with http.post("/events", json=body) as answer:
        if answer.status != 201:
            raise RuntimeError(await answer.text())


async def deliver(place: Stand) -> None:
    """Events delivered to 1 and to 200 WebSocket clients, published in batches of 200 as fast as they are acknowledged."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{place.port}") as http:
        for clients, batches in ((1, 25), (200, 5)):
            subject = f"job.bench-{clients}.said"
            session = await place.session(http, subject)
            name = f"deliver-{clients}"
            path = f"/callbacks/sessions/{session}/ws"
            (before,) = await place.readers.ask(f"open {name} 127.0.0.1 {place.port} {path} websocket {clients}")
            await place.broker.publish(Event.new(subject, PAYLOAD, source="bench"))
            (after,) = await place.readers.ask(f"count {name}")
            size, rates, costs = after - before, [], []
            for _ in range(RUNS):
                (have,) = await place.readers.ask(f"count {name}")
                cpu, began = (await place.edge.ask("cpu"))[0], time.perf_counter()
                for _ in range(batches):
                    events = [Event.new(subject, PAYLOAD, source="bench") for _ in range(200)]
                    await asyncio.gather(*(place.broker.publish(event) for event in events))
                wanted = have + 0.99 * size * batches * 200
                (have,) = await place.readers.ask(f"wait {name} {int(wanted)} 60")
                if have < wanted:
                    raise RuntimeError("events never arrived")
                count = batches * 200 * clients
                rates.append(count / (time.perf_counter() - began))
                costs.append(count / ((await place.edge.ask("cpu"))[0] - cpu))
            await place.readers.ask(f"close {name}")
            figure = f"{statistics.median(rates):,.0f}/s"
            row(
                f"delivered to {clients} WebSocket client(s)",
                figure,
                f"{statistics.median(costs):,.0f} per CPU-second of the edge",
            )


async def memory(place: Stand) -> None:
    """What an idle connection costs the edge, session state included."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{place.port}") as http:
        for transport, end in (("websocket", "ws"), ("sse", "sse")):
            session = await place.session(http, "job.idle.said")
            # A first hundred, so that what is made once is not counted. They stay: what they gave back would hide the next.
            for count, name in ((100, f"warm-{transport}"), (IDLE, f"idle-{transport}")):
                before = (await place.edge.ask("memory"))[1]
                path = f"/callbacks/sessions/{session}/{end}"
                await place.readers.ask(f"open {name} 127.0.0.1 {place.port} {path} {transport} {count}")
                after = (await place.edge.ask("memory"))[1]
            row(
                f"memory of an idle {transport} connection",
                f"{(after - before) / IDLE / 1000:,.1f} kB",
                f"over {IDLE} connections",
            )


async def main(parts: list[str]) -> None:
    for name, part in (("publish", publish), ("deliver", deliver), ("memory", memory)):
        if name in parts:
            # A stand of its own for each: memory that another part has let go would hide what this one takes.
            async with stand() as place:
                await part(place)
    if "fanout" in parts:
        print()
        fanout.show(await fanout.run())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description="Measures Callboard on this machine.")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}, joined by commas")
    chosen = parser.parse_args().only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}")
    asyncio.run(main(chosen))
