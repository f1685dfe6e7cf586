"""Sets up webhook tests: a receiver, edge processes that may die, and the nats-server that they share (the stage)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edge.sessions.endpoint.settings import EndpointSettings
from edge.sessions.registry import Registry, Session
from edge.sessions.spec import SessionSpec
from edge.webhooks.client.ssrf import GuardSettings, literal
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.fanout.settings import FanoutSettings
from edge.webhooks.service import Webhooks, WebhookSettings
from edge.webhooks.worker.context import WorkerSettings
from router import provisioning
from router.broker import Broker
from router.cluster.role import RoleSettings
from router.errors import BrokerError
from router.event import Event
from router.place import cursor_of
from router.position import of_one
from router.topology import TopologySettings
from tests.servers import Pair
from tests.waiting import eventually, in_time, unhurried

LOCAL = GuardSettings(allow_loopback=True)
# As in production, but no test waits for a person's patience. Leases last so long that no process loses one because the
# machine is busy.
QUICK = WebhookSettings(
    partitions=2,
    fanout=FanoutSettings(role=RoleSettings(ttl=30.0, poll=0.1), save_every=0.1),
    owner=RoleSettings(ttl=30.0, poll=0.1),
    worker=WorkerSettings(
        schedule=(0.3,), ack_wait=30.0, sweep=0.5, breaker=CircuitBreakerSettings(pause=0.3, probes=1)
    ),
)


def mortal(settings: WebhookSettings) -> WebhookSettings:
    """The same with short leases, for tests in which a process dies and another takes over."""
    role = RoleSettings(ttl=4.0, poll=0.1)
    return replace(settings, owner=role, fanout=replace(settings.fanout, role=role))


@dataclass
class ReceivedPost:
    """One request that a receiver got."""

    headers: dict[str, str]
    body: bytes


class Receiver:
    """A real HTTP server that keeps what it is sent and answers as it is told."""

    def __init__(self) -> None:
        self.posts: list[ReceivedPost] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | int = 204
        self.under_way = 0
        self.most_under_way = 0
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"Receiver({len(self.posts)} posts, {self.under_way} under way, {[post.body[-400:] for post in self.posts[-3:]]})"

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/hook"

    def use_tls(self, pair: Pair, clients: Path | None = None) -> None:
        """Serves HTTPS with a certificate, to clients with one of this authority where it is given."""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(pair.cert, pair.key)
        if clients is not None:
            self.tls.load_verify_locations(clients)
            self.tls.verify_mode = ssl.CERT_REQUIRED

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(ReceivedPost({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if isinstance(self.answer, int):
                return web.Response(status=self.answer)
            return await self.answer(request)
        finally:
            self.under_way -= 1

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self._runner = runner
        try:
            yield self
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def also_on(self, host: str) -> AsyncIterator[None]:
        """Listens at another address, too, so that it looks like another receiver."""
        assert self._runner is not None
        site = web.TCPSite(self._runner, host, self.port)
        await site.start()
        try:
            yield
        finally:
            await site.stop()


class Process:
    """One edge process as far as webhooks go: a broker, a registry, webhooks; it may die."""

    def __init__(self, broker: Broker, settings: WebhookSettings, guard: GuardSettings) -> None:
        self.broker = broker
        self.registry = Registry.over(broker.connection)
        self.webhooks = Webhooks(broker, self.registry, guard, settings)
        self._tasks = [asyncio.ensure_future(self.registry.run()), asyncio.ensure_future(self.webhooks.run())]

    def __repr__(self) -> str:
        webhooks = self.webhooks
        stats = {session: webhooks.stats(session) for session in self.registry.sessions}
        owned = sorted(webhooks.partitions.terms)
        return f"Process(fans out: {webhooks.fanout.owner} to {webhooks.fanout.position}, owns {owned}, {stats})"

    async def die(self) -> None:
        """Goes without a word: nothing is released, nothing given back."""
        await self.broker.connection._wire.close()
        try:
            await self.stop()
        except* BrokerError:
            pass  # what was just beginning cannot listen any more

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end


@dataclass
class Stage:
    """A nats-server, and the edge processes that a test starts on it."""

    url: str
    broker: Broker
    topology: TopologySettings
    processes: list[Process]
    kind: type[Process] = Process

    async def process(self, settings: WebhookSettings = QUICK, guard: GuardSettings = LOCAL) -> Process:
        """Starts one more edge process and waits until it knows the sessions; its partitions come when they are let go."""
        broker = Broker(unhurried(self.url), f"edge-{len(self.processes)}", self.topology)
        await broker.open()
        process = self.kind(broker, settings, guard)
        self.processes.append(process)
        await in_time(process.registry.ready.wait())
        return process

    async def settled(self) -> None:
        """Waits until each process has its share of the partitions, so that none of them moves while a test counts posts."""
        owned = [each.webhooks.partitions.terms for each in self.processes]
        count = self.processes[0].webhooks.settings.partitions

        def shared() -> bool:
            shares = [len(each) for each in owned]
            return sum(shares) == count and max(shares) - min(shares) <= 1

        await eventually(shared)

    async def widen(self, jobs: int) -> None:
        """Lets a session have so many jobs waiting."""
        await self.reshape(hooks_per_session=jobs)

    async def reshape(self, **changes: Any) -> None:
        """Gives the streams other sizes; for who starts after this, too."""
        self.topology = replace(self.topology, **changes)
        await provisioning.apply(self.broker.connection, self.topology)

    async def session(self, url: str, *, start: int | None = None, **more: Any) -> Session:
        """Stores a webhook session of its own, which begins after `start`, or now."""
        state = await self.broker.events_state()
        begin = state.last if start is None else of_one(start)
        endpoint = EndpointSettings(
            url=url, **{name: more.pop(name) for name in EndpointSettings.__struct_fields__ if name in more}
        )
        spec = SessionSpec(
            id=f"sess_{secrets.token_hex(12)}",
            delivery_method="webhook",
            created=time.time_ns(),
            start=str(cursor_of(begin, state.epoch if start is None else state.layout.generations[0].epoch)),
            webhook=endpoint,
            **more,
        )
        return await Registry.over(self.broker.connection).create(spec)

    async def publish(self, subject: str, count: int = 1, **data: Any) -> list[str]:
        """Publishes events and gives their ids."""
        ids = []
        for n in range(count):
            event = Event.new(subject, {"n": n, **data})
            await self.broker.publish(event)
            ids.append(event.id)
        return ids


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Lets every name lead to these addresses, as a receiver's own name server may."""
    known = asyncio.get_running_loop().__class__.getaddrinfo

    async def getaddrinfo(host: object, port: int | None, **more: Any) -> list[tuple[object, ...]]:
        if isinstance(host, str) and literal(host) is not None:
            return list(await known(asyncio.get_running_loop(), host, port, **more))
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port or 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))
            for address in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
