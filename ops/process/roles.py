"""Runs the role of one process: an actor, the edge, the simulated Octane."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ops.environment import INTERNAL_PORT, INTERNAL_SOCKET, SOCKET, inherited_descriptor, inherited_descriptors
from ops.process.children import Child, Lifeline, watch_lifeline
from ops.process.descriptors import raise_limit
from ops.process.disk import show_disk
from ops.process.handshake import report_ready
from ops.process.huge_pages import use_huge_pages
from ops.process.internal import Internal
from ops.process.logs import configure
from ops.process.looplag import measure_loop_lag
from ops.process.tracing import recording
from ops.settings import Mistakes, Settings
from router.broker import Broker
from router.cluster.leases import lease_key
from router.cluster.role import Role, RoleSettings
from router.errors import Unreachable
from router.log_levels import set_level
from router.nats.bucket import Bucket
from router.topology import LEASES

if TYPE_CHECKING:
    from edge.runtime import Edge

log = logging.getLogger(__name__)

# 10 s: a process that is started together with NATS waits for it; after that it fails with the reason.
NATS_TIMEOUT = 10.0
# Only one process runs an actor; a second one is a standby. An actor that cannot reach NATS goes on: the events of an
# Octane meanwhile would else be lost. 7 s: the edges say within 10 s that the camera of a process that died is gone, and the
# server looks once a second for what ran out.
ACTOR_ROLE = RoleSettings(ttl=7.0, poll=1.0, steps_down=False)
# What the edge takes to end beside its drain: open requests, webhook posts in flight, the connection to NATS.
WORKER_DRAIN = 8.0
# So many workers accept the connections of one socket.
SHARING = 2


def run_role(role: Callable[[asyncio.Event], Coroutine[Any, Any, None]], settings: Settings, name: str = "") -> int:
    """Runs a role until SIGTERM, SIGINT or the end of the process above us; a second Ctrl-C ends it at once."""
    configure(settings.log)
    watch_lifeline()
    raise_limit()
    with recording(settings.section("otel"), name), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_told(role))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _until_told(role: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop = asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told, number)
    async with asyncio.TaskGroup() as group:
        measuring = group.create_task(measure_loop_lag(), name="pulse")
        try:
            await role(stop)
        finally:
            measuring.cancel()


@contextlib.asynccontextmanager
async def connected_broker(settings: Settings, name: str, stop: asyncio.Event) -> AsyncIterator[Broker]:
    """Opens a broker, retrying for some seconds where NATS is just being started. Raises Unreachable or Unsuitable."""
    deadline = asyncio.get_running_loop().time() + NATS_TIMEOUT
    while True:
        broker = Broker(settings.broker, name, settings.topology)
        try:
            await broker.open()
            break
        except Unreachable:
            if stop.is_set() or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)
    try:
        yield broker
    finally:
        await broker.close()


async def serve_actor(name: str, settings: Settings, stop: asyncio.Event) -> None:
    """Runs one actor. Raises Escalate where it crashes too often."""
    from actors.catalog import ACTORS
    from actors.system.supervisor import run_actor

    actor: Callable[..., Any] = ACTORS[name].load()
    make = functools.partial(actor, settings.section(name)) if ACTORS[name].settings else actor
    async with (
        Internal(settings.internal).serving() as internal,
        connected_broker(settings, f"actor {name}", stop) as broker,
    ):
        internal.checks = lambda: {
            "nats": broker.connection.connected,
            "subscriptions": not broker.connection.refused_subjects,
        }
        # Also where another process holds the role: this one is then a ready standby.
        report_ready()
        instance = settings.command.instance
        key = lease_key("actor", name, instance)
        role = Role(Bucket(broker.connection, LEASES), key, _this_process(), ACTOR_ROLE, _is_dead)
        await _run_exclusively(role, functools.partial(run_actor, make, broker, instance=instance, stop=stop), stop)


async def _run_exclusively(role: Role, work: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Runs the work while this process holds the role, and waits for the role while another does. Raises what the work raises."""
    from actors.system.supervisor import root

    while not stop.is_set():
        term = asyncio.ensure_future(role.term(work))
        told = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({term, told}, return_when=asyncio.FIRST_COMPLETED)
            # The work gets `stop` too, and shuts down by itself; a standby has nothing to shut down.
            if not term.done() and not role.is_leader:
                return
            if await term:
                return
            log.warning("another process took over this role; waiting to take it back")
        except ExceptionGroup as group:
            raise root(group) from None
        finally:
            told.cancel()
            term.cancel()
            await asyncio.gather(term, told, return_exceptions=True)


def _this_process() -> str:
    """Names a process for as long as it lives: its machine, the table that its number is from, and its number."""
    return f"{socket.gethostname()}/{_table()}/{os.getpid()}"


def _table() -> str:
    # Containers may share a name, and each begins to count at 1.
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _is_dead(holder: str) -> bool:
    """Whether a process that held a role is no more, as far as its own machine can tell."""
    where, _, number = holder.rpartition("/")
    if where != f"{socket.gethostname()}/{_table()}" or not number.isdigit():
        return False
    return int(number) == os.getpid() or not _lives(int(number))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def serve_edge(settings: Settings, stop: asyncio.Event) -> None:
    """Serves the edge: on the socket that the process above us opened, or on one of its own."""
    edge = settings.section("edge")
    descriptors = inherited_descriptors(SOCKET)
    if edge.workers > 1 and not descriptors:
        return await _share(settings, stop)
    from edge.app import application
    from edge.auth.keys import BadKey
    from edge.server.serve import bind, serve

    listeners = [_inherited(each) for each in descriptors]
    internal_descriptor = inherited_descriptor(INTERNAL_SOCKET)
    own = None if internal_descriptor is None else _inherited(internal_descriptor)

    def ready(port: int) -> None:
        # Frozen: a full collection over all loaded modules would delay events by 20 ms.
        gc.collect()
        gc.freeze()
        # Events and jobs form no reference cycles; a collection after every 700 of them finds nothing and takes 5 % of the time.
        gc.set_threshold(10_000, 20, 20)
        use_huge_pages()
        log.info("edge is listening", extra={"host": edge.host, "port": port})
        report_ready()

    show_disk(settings.embedded.data_dir)
    try:
        async with Internal(settings.internal, own).serving() as internal:

            def opened(one: Edge) -> None:
                internal.checks = lambda: one.ready
                internal.details = lambda: {"store": one.store.describe()}

            await serve(
                application(
                    edge,
                    settings.broker,
                    settings.topology,
                    guard=settings.section("guard"),
                    identity=settings.section("identity"),
                    metrics=not internal.wanted,
                ),
                *(listeners or bind(edge.host, edge.port, settings.section("identity"))),
                stop=stop,
                opened=opened,
                ready=ready,
            )
    except BadKey as fault:
        raise Mistakes([f"CALLBOARD_JWT_KEYS: {fault}"]) from None
    return None


def _inherited(descriptor: int) -> socket.socket:
    """Takes over a socket that the process above us opened."""
    os.set_inheritable(descriptor, False)
    inherited = socket.socket(fileno=descriptor)
    inherited.setblocking(False)
    return inherited


async def _share(settings: Settings, stop: asyncio.Event) -> None:
    """Runs several edge processes on one port; one that dies is started again, while the others serve."""
    from ops.process.ports import open_port, open_ports
    from ops.process.workers import Workers, open_internal

    edge = settings.section("edge")
    secured = settings.section("identity").configured
    # Each connection wakes all who accept on its socket. So each of many workers has one of its own and its neighbour's: the
    # kernel spreads connections evenly, and those that came for a worker which has died are accepted by another.
    if edge.workers <= SHARING:
        listeners = open_port(edge.host, edge.port, secured)
        accepting = [[each.fileno() for each in listeners]] * edge.workers
    else:
        listeners = open_ports(edge.host, edge.port, edge.workers, secured)
        numbers = [each.fileno() for each in listeners]
        accepting = [[number, after] for number, after in zip(numbers, numbers[1:] + numbers[:1], strict=True)]
    lifeline = Lifeline()
    insides = [open_internal() for _ in range(edge.workers)]
    workers = Workers([inside.getsockname()[1] for inside in insides], lambda place: children[place].ready.is_set())

    async def level_of_all(logger: str, level: str) -> None:
        set_level(logger, level)
        await workers.forward("PUT", f"/logs?{urlencode({'logger': logger, 'level': level})}")

    def say(name: str, level: str, line: str) -> None:
        log.warning("worker restarted" if level == "restart" else "worker reports", extra={"worker": name, "why": line})

    children = [
        Child(
            f"edge {number + 1}",
            ["edge"],
            say=say,
            lifeline=lifeline,
            # Each its own internal socket, since each has figures of its own; the port is ours.
            environment={
                SOCKET: ",".join(map(str, sockets)),
                INTERNAL_SOCKET: str(inside.fileno()),
                INTERNAL_PORT: "",
            },
            descriptors=[*sockets, inside.fileno()],
        )
        for number, (inside, sockets) in enumerate(zip(insides, accepting, strict=True))
    ]
    try:
        async with Internal(settings.internal).serving() as internal, asyncio.TaskGroup() as group:
            internal.checks, internal.metrics, internal.level = workers.checks, workers.metrics, level_of_all
            if not internal.wanted:
                log.info("no metrics of the workers are served; set CALLBOARD_INTERNAL_PORT to serve them together")
            keeping = [group.create_task(child.keep()) for child in children]
            keeping.append(group.create_task(workers.watch(), name="workers' readiness"))
            await stop.wait()
            # The workers close theirs too: new connections are refused at once instead of left in the backlog.
            _close(listeners)
            await asyncio.gather(*(child.stop(edge.drain + WORKER_DRAIN) for child in children))
            for task in keeping:
                task.cancel()
    finally:
        for child in children:
            child.send(signal.SIGKILL)
        lifeline.close()
        _close(listeners)
        _close(insides)


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


async def simulate_octane(settings: Settings, stop: asyncio.Event) -> None:
    """Serves a simulated Octane."""
    from actors.octane.simulator.server import serve

    simulator = settings.section("simulator")

    def ready(address: str) -> None:
        report_ready()
        if sys.stderr.isatty():
            print(f"A simulated Octane listens on {address}; Ctrl-C ends it.", file=sys.stderr)

    def say(fault: str) -> None:
        print(f"The simulated Octane shows a fault: {fault}", file=sys.stderr, flush=True)

    async with Internal(settings.internal).serving() as internal, asyncio.TaskGroup() as group:
        internal.checks = dict
        serving = group.create_task(serve(simulator, ready, say))
        ending = group.create_task(stop.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        ending.cancel()
