"""Gives the tests of authentication a secured edge: the real server with keys, and clients with tokens for it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from edge.app import application
from edge.auth.grants import Grants
from edge.auth.token import mint
from edge.runtime import Edge
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings, IdentitySettings, SessionSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.topology import TopologySettings
from tests.clocks import Clock, set_clock
from tests.edge.auth.tally import table
from tests.edge.conftest import RunningEdge
from tests.waiting import PATIENCE, in_time, unhurried

SECRET = "a secret for tests only, 32 bytes"


def token(subject: str = "alice", ttl: float = 60.0, **grants: Any) -> str:
    """A token of the tests' own secret: `token("bob", read=["job.>"])`."""
    return mint(SECRET, subject, Grants.of(**grants), ttl, None, None)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which tokens, tickets and passes are made, believed and end; it can be put forward."""
    parts = ("connection", "principal", "tickets", "token")
    return set_clock(monkeypatch, *(f"edge.auth.{part}" for part in parts))


class SecuredEdge(RunningEdge):
    """An edge that requires tokens. `as_` gives the same edge as another principal sees it."""

    def as_(self, subject: str, ttl: float = 60.0, **grants: Any) -> SecuredEdge:
        return self.showing(token(subject, ttl, **grants))

    def showing(self, text: str) -> SecuredEdge:
        http = httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, headers=bearer(text))
        self.clients.append(http)
        seen = SecuredEdge(self.port, http)
        seen.clients, seen.token = self.clients, text
        return seen

    def subjects(self) -> list[str] | None:
        """What a token grants, where a test does not say it."""
        return None

    clients: list[httpx.AsyncClient]
    token: str = ""

    @contextlib.asynccontextmanager
    async def socket(self, session: str, query: str = "", **options: Any) -> AsyncIterator[Any]:
        headers = bearer(self.token) if self.token else {}
        async with super().socket(session, query, additional_headers=headers, **options) as socket:
            yield socket


SecuredFactory = Callable[..., contextlib.AbstractAsyncContextManager[SecuredEdge]]


@pytest.fixture(scope="session", autouse=True)
def counted() -> Iterator[None]:
    """Prints how many attacks were tried, and what came of them, behind the last test."""
    yield
    print(f"\n{table()}")


@pytest.fixture
def secured(nats_server: str) -> SecuredFactory:
    """Starts an edge with keys: `async with secured(identity=IdentitySettings(...), limits=...) as edge`."""

    @contextlib.asynccontextmanager
    async def start(
        identity: IdentitySettings | None = None, nats: str | None = None, **settings: Any
    ) -> AsyncIterator[SecuredEdge]:
        listeners = bind("127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        stop, ready = asyncio.Event(), asyncio.Event()
        chosen = EdgeSettings(port=port, **{"drain": 0.1, "session": SessionSettings(heartbeat=2.0), **settings})
        async with asyncio.TaskGroup() as group:
            group.create_task(
                serve(
                    application(
                        chosen,
                        unhurried(nats or nats_server),
                        TopologySettings(),
                        guard=GuardSettings(allow_loopback=True, allow_http=True),
                        identity=identity or IdentitySettings(secret=SECRET),
                    ),
                    *listeners,
                    stop=stop,
                    ready=lambda _port: ready.set(),
                )
            )
            await in_time(ready.wait())
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
                edge = SecuredEdge(port, http)
                edge.clients = []
                try:
                    yield edge
                finally:
                    stop.set()
                    for client in edge.clients:
                        await client.aclose()

    return start


@pytest.fixture
async def edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    """A secured edge with the usual settings."""
    async with secured() as running:
        yield running


@pytest.fixture
def name() -> str:
    """A principal that no other test has."""
    return f"user-{secrets.token_hex(4)}"


__all__ = ["SECRET", "Edge", "SecuredEdge", "SecuredFactory", "bearer", "token"]
