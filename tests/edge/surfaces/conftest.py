"""Fixtures of the surfaces: a reader of raw streams, and an agent that begins what it is asked to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from router.broker import Broker
from router.event import Event
from router.nats.service import Endpoint, Request, Service
from tests.edge.auth.conftest import name, secured
from tests.edge.conftest import RunningEdge
from tests.waiting import PATIENCE


class RawStream:
    """The bytes of one answer, as they came."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.said = b""
        self._parts = answer.aiter_raw()

    async def until(self, text: bytes) -> bytes:
        """Reads until a text has come; returns all so far."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.said:
                self.said += await anext(self._parts)
        return self.said

    async def more(self) -> bytes:
        """Reads what comes next; returns all so far."""
        async with asyncio.timeout(PATIENCE):
            self.said += await anext(self._parts)
        return self.said

    async def rest(self) -> bytes:
        """Reads until the server ends the answer; returns all of it."""
        async with asyncio.timeout(PATIENCE):
            async for part in self._parts:
                self.said += part
        return self.said


@contextlib.asynccontextmanager
async def streaming(
    edge: RunningEdge, path: str, last: str | None = None, method: str = "GET", **more: object
) -> AsyncIterator[RawStream]:
    """Opens a stream."""
    headers = {"Last-Event-ID": last} if last else {}
    async with edge.http.stream(method, path, headers=headers, **more) as answer:  # type: ignore[arg-type]
        yield RawStream(answer)


class Worker:
    """Serves as an agent: it begins a run as it is asked to, and says what it was asked."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self.asked: list[dict[str, object]] = []
        # Whether it refuses a run of a thread in which one goes on, as agents in Python do.
        self.single = False
        self._living: set[object] = set()
        self.refused = 0
        self._broker = broker
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: Request) -> None:
        """The command."""
        asked = request.arguments()
        for why, code in (("busy", 409), ("bad", 422), ("full", 503), ("broken", 500)):
            if asked["input"].get(why):
                self.refused += 1
                request.refuse(code, why)
                return
        if self.single and asked["run"] in self._living:
            request.refuse(409, "a run goes on")
            return
        self._living.add(asked["run"])
        self.asked.append(asked)
        task = asyncio.ensure_future(self._begin(request, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, request: Request, asked: dict[str, str]) -> None:
        own = {"incarnation": "of-its-own"} if asked["input"].get("own") else {}  # type: ignore[attr-defined]
        await self.emit(asked["domain"], asked["run"], "workflow_start", **{"incarnation": asked["incarnation"], **own})
        request.answer({"status": "running", **own})

    async def emit(self, domain: str, run: str, kind: str, **data: object) -> None:
        """Publishes an event of a run."""
        if kind == "completion":
            self._living.discard(run)
        await self._broker.publish(Event.new(f"{domain}.{run}.{kind}", data))


Serving = Callable[[str], contextlib.AbstractAsyncContextManager[Worker]]


@pytest.fixture
def serving(store: Broker) -> Serving:
    """Serves as the agent of a name: `async with serving("council") as council`."""

    @contextlib.asynccontextmanager
    async def serve(name: str) -> AsyncIterator[Worker]:
        agent = Worker(store, name)
        endpoint = Endpoint("start", f"cmd.{name}.main.start", agent.start)
        service = Service(store.connection, name, "1.0.0", description="Begins.", endpoints=[endpoint])
        running = asyncio.ensure_future(service.run())
        await service.serving.wait()
        yield agent
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    return serve


@pytest.fixture
async def worker(serving: Serving, entity: str) -> AsyncIterator[Worker]:
    """A running agent that no other test has."""
    async with serving(f"agent-{entity}") as agent:
        yield agent


@pytest.fixture
async def stopping(store: Broker, entity: str) -> AsyncIterator[list[str]]:
    """The runs that an agent actor was asked to stop."""
    asked: list[str] = []

    def stop(request: Request) -> None:
        asked.append(request.arguments()["run"])
        request.answer({"status": "stopping", "via": "nats"})

    endpoint = Endpoint("stop", "cmd.agent.main.stop", stop)
    service = Service(store.connection, "agent", "1.0.0", description="Notes.", endpoints=[endpoint])
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    yield asked
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


__all__ = ["RawStream", "Serving", "Worker", "name", "secured", "serving", "stopping", "streaming", "worker"]
