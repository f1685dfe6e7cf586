"""Serves agents for tests over the shared nats-server, asks them to begin runs, and waits for what these say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from router.broker import Broker
from router.codec import from_json, to_json
from router.event import Event
from router.nats.headers import header
from router.sdk import RunSettings
from router.sdk.agents import AgentFunction
from router.sdk.agents.server import AgentServer
from tests.router.sdk.conftest import own_spools as own_spools
from tests.router.sdk.runs import events_of, types
from tests.waiting import PATIENCE, eventually, in_time


@dataclass
class Served:
    """Agents that are served, and what they are asked."""

    broker: Broker
    server: AgentServer
    name: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, run: str, input: Any = None, **more: Any) -> tuple[str, Any]:
        """Asks for a run; returns the code of the refusal, empty where there is none, and the answer or the reason."""
        order = {"run": run, "domain": "thread", "input": input, **more}
        subject = f"cmd.{self.name}.main.start"
        reply = await self.broker.connection.ask(
            subject, to_json(order), {"Content-Type": "application/json"}, timeout=PATIENCE
        )
        if code := header(reply.headers, b"Nats-Service-Error-Code"):
            return code, header(reply.headers, b"Nats-Service-Error")
        return "", from_json(reply.payload)

    async def begin(self, run: str, input: Any = None, **more: Any) -> str:
        """Begins a run; returns its incarnation."""
        code, answer = await self.start(run, input, **more)
        assert code == "", answer
        return answer["incarnation"]

    async def ended(self, run: str, domain: str = "thread", times: int = 1) -> list[Event]:
        """All events of a run, once it has ended so many times."""

        async def over() -> list[Event] | None:
            found = await events_of(self.broker, run, domain)
            return found if types(found).count("completion") >= times else None

        return await eventually(over)

    async def tell_to_stop(self, run: str, reason: str | None = None) -> None:
        """Asks the run's producer to stop, as the agent actor does."""
        wish = to_json({"domain": "thread", "reason": reason})
        await self.broker.connection.ask(f"cmd.run.{run}.stop", wish, timeout=PATIENCE)


Serves = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def serves(broker: Broker) -> Serves:
    """Serves agents: `async with serves(assistant) as served`."""

    @contextlib.asynccontextmanager
    async def serve(*agents: AgentFunction, grace: float = 0.0, ttl: float = 10.0) -> AsyncIterator[Served]:
        server = AgentServer(agents, broker, grace=grace, settings=RunSettings(ttl=ttl, drain=60.0))
        served, ready = Served(broker, server, agents[0].name), asyncio.Event()
        running = asyncio.ensure_future(server.run(served.stop, ready.set))
        await in_time(ready.wait())
        try:
            yield served
        finally:
            served.stop.set()
            await in_time(running)

    return serve
