"""Simulates a large installation from measured costs: one edge of many, event by event, and what all need together.

    python -m ops.bench.simulation                               1 million connections, 100,000 events/s, 50 edges
    python -m ops.bench.simulation --published sdk --edges 80    other loads, see --help
    python -m ops.bench.simulation --cost-event 20e-6            other costs, such as those of your machine

Model. An edge is one process on one core. It sleeps until something comes, takes everything that waits by then (requests that
publish, live copies of events) and is done with all of it after `wake` and the costs of each; meanwhile more comes. Requests and
copies come at random (Poisson). An event has a fixed number of readers; each is at any edge with the same likelihood, or all are
at the same one. NATS sends a copy of an event to every edge that has a reader of it, once. Heartbeats and pings slow everything
down by the share of the core that they take. What is simulated is the fullest edge: `skew` times the average. Of NATS only the
utilisation and an estimated wait (M/M/1 at the leader of a shard) are told. Not modelled: garbage collection, TLS, networks that
lose packets, slow readers, and replay.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, exp, lgamma, log, log1p

from ops.bench.simulated_edge import EdgeRun, EdgeWork, simulate

TARGET = 0.7


@dataclass(frozen=True)
class Costs:
    """What was measured: seconds of CPU time, and bytes."""

    wake: float = 55e-6
    event: float = 31e-6
    write: float = 5.9e-6
    delivery: float = 0.4e-6
    publish: float = 61e-6
    publish_batched: float = 17e-6
    open: float = 120e-6
    store: float = 10e-6
    copy: float = 0.6e-6
    shard: float = 0.1e-6
    edge_memory: float = 75e6
    connection_memory: float = 2.6e3
    socket_memory: float = 4.0e3


# Of each cost: what it is, and where its default was measured (27 and 28 November 2026, two cores that others were using too).
SOURCES = {
    "wake": "one wake-up of an edge's loop: a quiet event (0.26 ms to ten readers, ADR 64) less its publish, event and writes, by two",
    "event": "an event that an edge has a reader of, found and encoded: 90 µs for ten readers (dialects) less ten writes",
    "write": "one write to a reader, the kernel's share included: 300 readers less 10 readers (versus)",
    "delivery": "one event more in a write: bursts of ten less singles (versus)",
    "publish": "POST /events of one event, stored and acknowledged (publish)",
    "publish_batched": "the same, an event of 100 in a request (publish)",
    "open": "to open a WebSocket connection with a token (versus)",
    "store": "nats-server, to store an event and acknowledge it (copies)",
    "copy": "nats-server, to send a copy of an event to one subscriber (copies)",
    "shard": "more for an event that an edge publishes or reads, for each shard beyond the first (shards)",
    "edge_memory": "resident memory of `callboard edge` without readers",
    "connection_memory": "an idle connection in the edge (versus)",
    "socket_memory": "an idle socket in the kernel (slabs, 5,000 sockets)",
}


@dataclass(frozen=True)
class SimulatedLoad:
    """What the installation is to carry."""

    connections: int = 1_000_000
    events: float = 100_000.0
    edges: int = 50
    # Readers of an event, and whether they are at one edge.
    audience: int = 10
    together: bool = False
    # http (one event a request), batches (100), sdk (past the edges).
    published: str = "http"
    skew: float = 1.1
    # Of an edge with many thousands.
    heartbeat: float = 54.0
    # With every twelfth heartbeat, of such an edge.
    ping: float = 648.0
    # One way between two machines, in seconds.
    network: float = 0.2e-3
    replicas: int = 3


@dataclass(frozen=True)
class SystemForecast:
    """What the whole needs, by arithmetic."""

    copies: float
    edge: EdgeWork
    edge_utilisation: float
    edges_needed: int | None
    edge_cores: float
    edge_bytes: float
    total_bytes: float
    nats_cores: float
    shards: int
    shard_utilisation: float
    # Until the others have opened the connections of one that died; None where they have no time to spare.
    recovery_seconds: float | None


def reach(load: SimulatedLoad) -> list[float]:
    """How likely it is that an edge has 0, 1, 2, … of an event's readers."""
    share, n = 1 / load.edges, load.audience
    if load.together or share == 1:
        return [1 - share, *([0.0] * (n - 1)), share]
    # By logarithms: the binomial coefficients of large audiences are no floats.
    return [
        exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(share) + (n - k) * log1p(-share))
        for k in range(n + 1)
    ]


def shards_needed(load: SimulatedLoad, costs: Costs) -> int:
    """As many shards as their leaders need to store all events."""
    return max(1, ceil(load.events * costs.store / TARGET))


def edge_work(load: SimulatedLoad, costs: Costs) -> EdgeWork:
    """What the fullest edge has to do in a second."""
    chances = reach(load)
    # Half of the connections are WebSockets, whose pings are a write and a read.
    writes = load.connections / load.edges * (1 / load.heartbeat + 0.5 * 2 / load.ping)
    publish = {"http": costs.publish, "batches": costs.publish_batched, "sdk": 0.0}[load.published]
    more = costs.shard * (shards_needed(load, costs) - 1)
    return EdgeWork(
        connections=load.connections / load.edges * load.skew,
        publishes=load.events / load.edges * load.skew if publish else 0.0,
        events=load.events * (1 - chances[0]) * load.skew,
        readers=tuple(chances[1:]),
        publish_cost=publish + more if publish else 0.0,
        event_cost=costs.event + more,
        background=writes * load.skew * costs.write,
    )


def utilisation(work: EdgeWork, costs: Costs) -> float:
    """The share of a core that an edge needs, were all wake-ups shared by many events."""
    deliveries = work.events * work.mean_readers
    spent = (
        work.publishes * work.publish_cost + work.events * work.event_cost + deliveries * (costs.write + costs.delivery)
    )
    return spent + work.background


def edges_needed(load: SimulatedLoad, costs: Costs, target: float = TARGET) -> int | None:
    """The fewest edges that are used no more than that; None where no number of them is enough."""
    most = 100_000
    if utilisation(edge_work(replace(load, edges=most), costs), costs) > target:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if utilisation(edge_work(replace(load, edges=middle), costs), costs) <= target:
            high = middle
        else:
            low = middle + 1
    return low


def forecast(load: SimulatedLoad, costs: Costs) -> SystemForecast:
    """Adds up what edges and NATS need."""
    work = edge_work(load, costs)
    used = utilisation(work, costs)
    copies = load.edges * (1 - reach(load)[0])
    shards = shards_needed(load, costs)
    # Each replica stores each event; copies are sent by the server that an edge is connected to.
    nats = load.events * (costs.store * load.replicas + copies * costs.copy)
    held = costs.edge_memory + work.connections * (costs.connection_memory + costs.socket_memory)
    return SystemForecast(
        copies=copies,
        edge=work,
        edge_utilisation=used,
        edges_needed=edges_needed(load, costs),
        edge_cores=used / load.skew * load.edges,
        edge_bytes=held,
        total_bytes=load.edges * costs.edge_memory + load.connections * (costs.connection_memory + costs.socket_memory),
        nats_cores=nats,
        shards=shards,
        shard_utilisation=load.events / shards * costs.store,
        recovery_seconds=work.connections / (load.edges - 1) * costs.open / (1 - used)
        if used < 1 and load.edges > 1
        else None,
    )


def latencies(load: SimulatedLoad, costs: Costs, run: EdgeRun, shard: float, rng: random.Random) -> dict[str, float]:
    """Publish to receive, in seconds: publish, store, copy and delivery drawn independently of one another."""
    samples = []
    wait = costs.store / (1 - min(shard, 0.999))
    for _ in range(20_000):
        publish = rng.choice(run.publishes) if run.publishes else 0.0
        # To the edge and on to NATS, to a quorum and back, to the other edge and on to the reader.
        hops = 6 if run.publishes else 5
        samples.append(publish + rng.expovariate(1 / wait) + rng.choice(run.events) + hops * load.network)
    samples.sort()
    return {f"p{share:g}": samples[int(len(samples) * share / 100)] for share in (50, 99, 99.9)}


@dataclass(frozen=True)
class SimulatedSystem:
    """What was assumed, and all that came of it."""

    load: SimulatedLoad
    costs: Costs
    forecast: SystemForecast
    run: EdgeRun
    latency: Mapping[str, float] | None

    def as_json(self) -> str:
        run = {
            "utilisation": self.run.busy / self.run.seconds,
            "batch": self.run.batch,
            "overloaded": self.run.overloaded,
        }
        parts = {"load": asdict(self.load), "costs": asdict(self.costs), "forecast": asdict(self.forecast)}
        return json.dumps({**parts, "run": run, "latency": self.latency}, indent=1)


def simulated(load: SimulatedLoad, costs: Costs, seconds: float, seed: int) -> SimulatedSystem:
    """Runs the fullest edge for so many seconds, and adds up the rest."""
    rng = random.Random(seed)
    whole = forecast(load, costs)
    run = simulate(whole.edge, costs.wake, costs.write, costs.delivery, seconds, rng)
    told = None if run.overloaded or not run.events else latencies(load, costs, run, whole.shard_utilisation, rng)
    return SimulatedSystem(load, costs, whole, run, told)


def lines(found: SimulatedSystem) -> list[str]:
    """The report as people read it."""
    load = found.load
    return [
        f"{load.connections:,} connections, {load.events:,.0f} events/s to {load.audience} readers each "
        f"({'at one edge' if load.together else 'at random edges'}), published by {load.published}, {load.edges} edges",
        "",
        "Assumed",
        *(f"  {name:18} {_amount(name, getattr(found.costs, name)):>10}  {source}" for name, source in SOURCES.items()),
        f"  {'skew':18} {load.skew:>10g}  the fullest edge has so many times the average",
        f"  {'network':18} {load.network * 1e3:>7g} ms  one way between two machines",
        f"  {'heartbeat':18} {load.heartbeat:>8g} s  to each reader",
        f"  {'ping':18} {load.ping:>8g} s  to each WebSocket, which half of them are",
        "",
        "The fullest edge",
        *_edge_lines(found),
        "",
        "All together",
        *_system_lines(found),
    ]


def _edge_lines(found: SimulatedSystem) -> list[str]:
    whole, run, edge = found.forecast, found.run, found.forecast.edge
    if found.latency:
        used = f", {run.busy / run.seconds:.0%} simulated with its wake-ups, {run.batch:.1f} events and requests each"
        told = ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in found.latency.items())
    else:
        used = ""
        told = "grows without end: more comes than one core can do" if run.overloaded else "nothing was published"
    return [
        f"  {'connections':18} {edge.connections:>10,.0f}",
        f"  {'publishes':18} {edge.publishes:>10,.0f}/s",
        f"  {'live events':18} {edge.events:>10,.0f}/s, {edge.events * edge.mean_readers:,.0f} deliveries/s",
        f"  {'memory':18} {whole.edge_bytes / 1e6:>10,.0f} MB, the kernel's sockets included",
        f"  {'utilisation':18} {whole.edge_utilisation:>10.0%} of a core by arithmetic{used}",
        f"  publish to receive {told}",
    ]


def _system_lines(found: SimulatedSystem) -> list[str]:
    load, whole = found.load, found.forecast
    needed = f"{whole.edges_needed:,} edges" if whole.edges_needed else "no number of edges"
    back = (
        "never brought back: the others have no time to spare"
        if whole.recovery_seconds is None
        else f"{whole.recovery_seconds:>10,.2f} s until the others have opened its connections anew in their spare time"
    )
    return [
        f"  {'edges':18} {whole.edge_cores:>10,.1f} cores, {whole.total_bytes / 1e9:,.1f} GB",
        f"  {'at most 70 % used':18} {needed:>10}",
        f"  {'copies of an event':18} {whole.copies:>10,.1f}, one to each edge that has a reader of it",
        f"  {'NATS':18} {whole.nats_cores:>10,.1f} cores, {load.replicas} replicas",
        f"  {'shards of EVENTS':18} {whole.shards:>10,}, each leader {whole.shard_utilisation:.0%} of a core by storing",
        f"  {'an edge dies':18} {back}",
    ]


def _amount(name: str, value: float) -> str:
    if not name.endswith("memory"):
        return f"{value * 1e6:g} µs"
    return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} kB"


def main() -> int:
    """Reads what is to be simulated; 1 where the edges are overloaded."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.simulation", description="Simulates a large installation from measured costs."
    )
    usual, measured = SimulatedLoad(), Costs()
    parser.add_argument("--connections", type=int, default=usual.connections, help="%(default)s")
    parser.add_argument("--events", type=float, default=usual.events, help="events a second, %(default)s")
    parser.add_argument("--edges", type=int, default=usual.edges, help="processes of one core each, %(default)s")
    parser.add_argument("--audience", type=int, default=usual.audience, help="readers of an event, %(default)s")
    parser.add_argument("--together", action="store_true", help="all readers of an event are at the same edge")
    parser.add_argument("--published", choices=("http", "batches", "sdk"), default=usual.published, help="%(default)s")
    parser.add_argument("--skew", type=float, default=usual.skew, help="load of the fullest edge, %(default)s")
    parser.add_argument("--heartbeat", type=float, default=usual.heartbeat, help="seconds, %(default)s")
    parser.add_argument("--ping", type=float, default=usual.ping, help="seconds, %(default)s")
    parser.add_argument("--network", type=float, default=usual.network, help="seconds one way, %(default)s")
    parser.add_argument("--replicas", type=int, default=usual.replicas, help="of the stream, %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long is simulated, %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    for name, source in SOURCES.items():
        option = f"--cost-{name.replace('_', '-')}"
        parser.add_argument(
            option, type=float, default=getattr(measured, name), help=f"{source.replace('%', '%%')}; %(default)s"
        )
    given = vars(parser.parse_args())
    for name in ("connections", "events", "edges", "audience", "skew", "heartbeat", "ping", "replicas", "seconds"):
        if given[name] <= 0:
            parser.error(f"--{name} must be more than 0")
    load = SimulatedLoad(**{each.name: given[each.name] for each in fields(SimulatedLoad)})
    costs = Costs(**{name: given[f"cost_{name}"] for name in SOURCES})
    found = simulated(load, costs, given["seconds"], given["seed"])
    print(found.as_json() if given["json"] else "\n".join(lines(found)))
    return 1 if found.run.overloaded else 0


if __name__ == "__main__":
    sys.exit(main())
