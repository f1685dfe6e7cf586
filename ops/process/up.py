"""Starts the whole system as one tree of processes, supervises it, and ends it in order.

nats-server first, then all others at once: the simulated Octane, the actors, the edge. Each is a process of its own; one
that dies is started again. The edge's socket is opened here, so a connection that comes while the edge is restarted waits
for the next one instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, NoReturn

from actors.catalog import ACTORS
from edge.settings import EdgeSettings
from ops.environment import DATA_DIR, INTERNAL_PORT, NATS_URL, SOCKET
from ops.process.banner import Ready, announce
from ops.process.cameras import CAMERAS, SOURCE, configured_cameras
from ops.process.children import Backoff, Child, Lifeline, end_with_parent, reason
from ops.process.datadir import DataFolder
from ops.process.descriptors import raise_limit
from ops.process.disk import DiskWatch
from ops.process.foreground import own_foreground
from ops.process.octanes import ADDRESS, configured_octanes
from ops.process.parts import EDGE, OCTANE_PORT, SIMULATOR, chosen, port_of_simulator
from ops.process.ports import open_port, reachable, url_of
from ops.process.readiness import READY_SECONDS, await_actors, await_child, await_edge, shown_session
from ops.register import Running
from ops.settings import INTERNAL, KEYS, NATS, Mistakes, Settings
from ops.terminal import Paint, StatusLine, safe
from router.broker import Broker
from router.errors import EmbeddedError
from router.nats.embedded import EmbeddedServer, password_of

# The credentials for NATS, by their names in BrokerSettings.
LOGIN = ("user", "password", "token", "creds", "nkey_seed", "ca", "cert", "key")
MAX_RESTARTS_WAITED_FOR = 3
# How long each process may take to end: the edge drains its readers, an actor its mailbox.
EDGE_DRAIN, ACTOR_DRAIN, OTHER_DRAIN = 8.0, 7.0, 3.0

_LOUD = frozenset({"warning", "error", "critical", "restart"})


def run_up(settings: Settings) -> int:
    """Starts the system and stays until it is told to stop. Raises CannotStart, EmbeddedError or BrokerError."""
    # For nats-server, which inherits it; the roles raise theirs themselves.
    raise_limit()
    folder = DataFolder(settings.embedded.data_dir)
    cast = chosen(settings)
    listeners: list[socket.socket] = []
    folder.refuse_a_second()
    if EDGE in cast:
        edge: EdgeSettings = settings.section(EDGE)
        listeners = open_port(edge.host, edge.port, settings.section("identity").configured)
    with contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.callback(listener.close)
        stack.enter_context(folder.owned())
        stack.enter_context(own_foreground())
        return asyncio.run(ProcessTree(settings, folder, cast, listeners).run())


PUBLIC_URL = "CALLBOARD_OCTANE_RENDER_PUBLIC_URL"


class ProcessTree:
    """The system while it runs."""

    def __init__(self, settings: Settings, folder: DataFolder, cast: list[str], listeners: list[socket.socket]) -> None:
        self.settings = settings
        self.folder = folder
        self.cast = cast
        self.listeners = listeners
        self.children: dict[str, Child] = {}
        self.server: EmbeddedServer | None = None
        self._stop = asyncio.Event()
        self._signals = 0
        self._stopping = False
        self._lifeline = Lifeline()
        self._simulator_port = OCTANE_PORT
        self._status = StatusLine(sys.stderr)
        self._paint = Paint.of(sys.stderr)
        self._begun = time.monotonic()

    async def run(self) -> int:
        """Starts, watches, ends; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            async with self._nats() as url, self._broker(url) as broker:
                self._create_children(url)
                with self.settings.register().kept(self._register_entry(url)) as registered:
                    if not registered:
                        self._say("up", "warning", "no folder takes its address; commands find it by --data-dir only")
                    return await self._supervise(broker)
        finally:
            self._status.clear()
            for child in self.children.values():
                child.send(signal.SIGKILL)
            self._lifeline.close()

    def _register_entry(self, url: str) -> Running:
        """Makes the entry by which other commands of this user find this system."""
        return Running(
            str(self.folder.path.resolve()),
            os.getpid(),
            url_of(*self.listeners[0].getsockname()[:2]) if self.listeners else None,
            self.settings.reach(INTERNAL, *KEYS) | self._login() | {NATS_URL: url},
        )

    def _login(self) -> dict[str, str]:
        """The credentials for the NATS that was named; empty for the embedded one, whose password is in its URL."""
        return {f"{NATS}{name.upper()}": "" for name in LOGIN} if self.server else self.settings.reach(NATS)

    def _on_signal(self, number: int) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1 and number == signal.SIGINT:
            self._kill()

    def _kill(self) -> NoReturn:
        """Kills all processes: the answer to a second Ctrl-C."""
        for child in self.children.values():
            child.give_up()
            child.send(signal.SIGKILL)
        if self.server and self.server.process and self.server.process.returncode is None:
            self.server.process.kill()
        os._exit(130)

    @contextlib.asynccontextmanager
    async def _nats(self) -> AsyncIterator[str]:
        """Gives the address of the NATS to use, of a server of our own where none was named."""
        if self.settings.was_set(NATS_URL):
            self.folder.leave("nats.url", self.settings.broker.url)
            yield self.settings.broker.url
            return
        self._status.show("starting nats-server")
        # With keys configured a login says what somebody may see; NATS itself would show it to every user of the machine.
        closed = self.settings.section("identity").configured
        password = password_of(self.folder.path) if closed else None
        self.server = EmbeddedServer(self.settings.embedded, end_with_parent(), password)
        try:
            await self.server.start()
            self.folder.leave("nats.url", self.server.url)
            yield self.server.url
        finally:
            await self.server.stop(OTHER_DRAIN)

    @contextlib.asynccontextmanager
    async def _broker(self, url: str) -> AsyncIterator[Broker]:
        """Connects and makes the streams, before anybody else needs them."""
        settings = dataclasses.replace(self.settings.broker, url=url)
        if self.server:
            # How to log in to another server says nothing about ours.
            nothing: dict[str, Any] = dict.fromkeys(LOGIN)
            settings = dataclasses.replace(settings, **nothing)
        async with Broker(settings, "up", self.settings.topology) as broker:
            yield broker

    def _create_children(self, url: str) -> None:
        """Makes a child process for each name."""
        told = {NATS_URL: url, DATA_DIR: str(self.settings.embedded.data_dir.resolve())}
        if self.server:
            told |= self._login()
        told |= {
            name: found.text
            for name, found in self.settings.found.items()
            if found.source == "flag" and name not in told
        }
        if self.listeners and not self.settings.was_set(PUBLIC_URL):
            # What is told of a render has a link to its picture.
            told[PUBLIC_URL] = url_of(*self.listeners[0].getsockname()[:2])
        octane = {}
        if SIMULATOR in self.cast:
            self._simulator_port = port_of_simulator(self.settings)
            octane = {ADDRESS: f"127.0.0.1:{self._simulator_port}"}
        octanes, cameras = configured_octanes(self.settings), configured_cameras(self.settings)
        if cameras:
            told[CAMERAS] = ""  # each camera learns its own address, and nobody else any
        internal = self.settings.internal.port
        for place, name in enumerate(self.cast):
            extra, descriptors, arguments = dict(told), [], ["actor", name]
            if internal is not None:
                extra[INTERNAL_PORT] = str(internal + place)
            if name == SIMULATOR:
                arguments = ["simulate", "octane", "--host", "127.0.0.1", "--port", str(self._simulator_port)]
            elif name in octanes:
                arguments = ["actor", "octane", "--instance", octanes[name].instance]
                extra[ADDRESS] = octanes[name].address
            elif name in cameras:
                arguments = ["actor", "camera", "--instance", cameras[name].instance]
                extra[SOURCE] = cameras[name].source
            elif name == "octane":
                extra |= octane
            elif name == EDGE and self.listeners:
                arguments = ["edge"]
                extra |= self._edge_environment()
                descriptors = [each.fileno() for each in self.listeners]
                self.folder.leave("edge.url", url_of(*self.listeners[0].getsockname()[:2]))
            self.children[name] = Child(
                name,
                arguments,
                say=self._say,
                lifeline=self._lifeline,
                environment=extra,
                log=self.folder.logs / f"{name}.log",
                descriptors=descriptors,
            )

    def _edge_environment(self) -> dict[str, str]:
        assert self.listeners
        told = {SOCKET: ",".join(str(each.fileno()) for each in self.listeners)}
        # On a developer's machine webhook receivers run on loopback; production sets what it allows.
        for name in ("CALLBOARD_WEBHOOK_ALLOW_LOOPBACK", "CALLBOARD_WEBHOOK_ALLOW_HTTP"):
            if not self.settings.was_set(name):
                told[name] = "true"
        return told

    async def _supervise(self, broker: Broker) -> int:
        async with asyncio.TaskGroup() as group:
            keeping = {name: group.create_task(child.keep(), name=name) for name, child in self.children.items()}
            tasks: list[asyncio.Task[Any]] = list(keeping.values())
            if self.server:
                tasks.append(group.create_task(self._keep_server(self.server), name="nats-server"))
                disk = DiskWatch(self.folder.path, broker, partial(self._say, "nats-server"), self.server.terminate)
                tasks.append(group.create_task(disk.run(), name="disk"))
            mistaken = group.create_task(self._wrong_settings(keeping))
            tasks.append(mistaken)
            try:
                starting = group.create_task(self._start(broker))
                ending = group.create_task(self._stop.wait())
                tasks += [starting, ending]
                await asyncio.wait({starting, ending, mistaken}, return_when=asyncio.FIRST_COMPLETED)
                if not mistaken.done():
                    await asyncio.wait({ending, mistaken}, return_when=asyncio.FIRST_COMPLETED)
                starting.cancel()
                if mistaken.done() and not self._stop.is_set():
                    raise Mistakes(mistaken.result())
            finally:
                await self._end()
                for task in tasks:
                    task.cancel()
        return 0

    async def _wrong_settings(self, keeping: dict[str, asyncio.Task[None]]) -> list[str]:
        """Returns once a child has ended because of wrong settings, with the mistakes that all children report."""
        if not keeping:
            await asyncio.get_running_loop().create_future()
        await asyncio.wait(keeping.values(), return_when=asyncio.FIRST_COMPLETED)
        # The others read theirs at the same time: a ready one has no mistakes, an ended one has reported them.
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and any(
            not task.done() and not self.children[name].ready.is_set() for name, task in keeping.items()
        ):
            await asyncio.wait(keeping.values(), timeout=0.05)
        said = [
            line.removeprefix("callboard: ")
            for child in self.children.values()
            if child.exit_code is not None
            for line in child.last_lines
            if line.startswith("callboard: ")
        ]
        return list(dict.fromkeys(said)) or ["a process gave up over its settings"]

    async def _keep_server(self, server: EmbeddedServer) -> None:
        """Starts nats-server again whenever it ends: same port, same data."""
        backoff = Backoff()
        while True:
            assert server.process
            code = await server.process.wait()
            if self._stopping:
                return
            delay = backoff.next()
            if backoff.failures <= 3:
                self._say("nats-server", "restart", f"{reason(code)}; starting it again")
            await asyncio.sleep(delay)
            try:
                await server.start()
                backoff.started()
            except EmbeddedError as fault:
                self._say("nats-server", "error", str(fault))

    async def _start(self, broker: Broker) -> None:
        """Waits until all processes are ready, prints the banner, and reports those that become ready later."""
        waiting = set(self.cast)
        announced = False

        def here(name: str) -> None:
            waiting.discard(name)
            if announced:
                self._say(name, "restart", "is ready now")
            else:
                self._show_progress(waiting)

        self._show_progress(waiting)
        async with asyncio.TaskGroup() as group:
            waiters = [
                group.create_task(await_actors(broker.connection, self._ready_events(waiting & ACTORS.keys()), here))
            ]
            if EDGE in waiting:
                waiters.append(group.create_task(await_edge(self._edge_address(), self.children[EDGE].ready, here)))
            # The simulator is no actor; of several Octanes the name alone does not tell which one answers.
            others = waiting - ACTORS.keys() - {EDGE}
            waiters += [group.create_task(await_child(name, self.children[name].ready, here)) for name in others]
            deadline = time.monotonic() + READY_SECONDS
            # The banner does not wait for a process that has crashed this often.
            while time.monotonic() < deadline and any(
                self.children[name].restarts < MAX_RESTARTS_WAITED_FOR for name in waiting
            ):
                await asyncio.wait(waiters, timeout=0.05)
            session = None
            if self.listeners and EDGE not in waiting:
                note, token = self.folder.path / "session", self.settings.command.token
                session = await shown_session(self._edge_address(), note, token)
            self._status.clear()
            ready = Ready(
                cast=self.cast,
                missing=waiting,
                seconds=time.monotonic() - self._begun,
                server_version=broker.connection.server_version,
                folder=self.folder,
                edge=url_of(*self.listeners[0].getsockname()[:2]) if self.listeners else None,
                nats=self.server.url if self.server else self.settings.broker.url,
                session=session,
            )
            announce(ready, self.settings)
            announced = True

    def _ready_events(self, names: Iterable[str]) -> dict[str, asyncio.Event]:
        return {name: self.children[name].ready for name in names}

    def _edge_address(self) -> tuple[str, int]:
        assert self.listeners
        host, port = self.listeners[0].getsockname()[:2]
        return reachable(host), port

    def _show_progress(self, waiting: set[str]) -> None:
        marks = [self._paint(f"✓ {name}", "green") if name not in waiting else f"… {name}" for name in self.cast]
        self._status.show("starting  " + "  ".join(marks))

    def _say(self, name: str, level: str, line: str) -> None:
        """Shows a child's warnings, errors and restarts."""
        if level not in _LOUD or self._stopping:
            return
        # When nats-server ends, every child logs it; it is reported once, by us.
        if self.server and " router.nats.connection: " in line:
            return
        self._status.clear()
        style = "red" if level in ("error", "critical") else "yellow"
        print(f"{self._paint(f'{name:<11}', style)} {safe(line)}", file=sys.stderr, flush=True)

    def _drain(self, name: str) -> float:
        """The edge's setting for draining its readers."""
        return float(self.settings.section(EDGE).drain) if name == EDGE else 0.0

    async def _end(self) -> None:
        """Ends the processes in the reverse order of their dependencies."""
        self._stopping = True
        self._status.show("ending …")
        # Nothing accepts connections from now on: refuse them at once instead of leaving them in the backlog.
        for each in self.listeners:
            each.close()
        actors = self.children.keys() - {EDGE, SIMULATOR}
        for names, timeout in (({EDGE}, EDGE_DRAIN), (actors, ACTOR_DRAIN), ({SIMULATOR}, OTHER_DRAIN)):
            async with asyncio.TaskGroup() as group:
                for name in names & self.children.keys():
                    group.create_task(self.children[name].stop(timeout + self._drain(name)))
        self._status.clear()
