"""Fixtures of edge tests: the real server on a free port, in this process, on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import websockets

from edge import presence
from edge.app import application
from edge.runtime import Edge
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings, SessionSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.broker import Broker
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings
from tests.waiting import PATIENCE, eventually, in_time, unhurried

# The client's own deadlines are no part of what a test says about the server.
UNHURRIED = {"open_timeout": PATIENCE, "ping_timeout": PATIENCE}
# No heartbeat comes between what a test waits for; one that is about heartbeats asks for them.
QUIET = SessionSettings(heartbeat=3600.0)


def n(events: list[dict[str, Any]]) -> list[Any]:
    """The numbers that events carry."""
    return [event["data"]["n"] for event in events]


async def keep_picture(broker: Broker, subject: str, picture: bytes) -> None:
    """Publishes a picture that viewers who come later see: NATS stores it a moment after it has answered a flush."""
    await broker.frame(subject, picture)
    assert await eventually(lambda: broker.last_frame(subject)) == picture


class RunningEdge:
    """One edge under test: its address, an HTTP client, and short ways to do what clients do."""

    def __init__(self, port: int, http: httpx.AsyncClient) -> None:
        self.port = port
        self.http = http
        self.url = f"http://127.0.0.1:{port}"
        self.edge: Edge | None = None

    async def session(self, **body: Any) -> str:
        """A session; where it is not said of what, of subjects that nobody else publishes to, and with None of all."""
        chosen = {"delivery_method": "websocket", "subjects": self.subjects(), **body}
        if chosen["subjects"] is None:
            del chosen["subjects"]
        answer = await self.http.post("/callbacks/sessions", json=chosen)
        assert answer.status_code == 201, answer.text
        return answer.json()["session_id"]

    def subjects(self) -> list[str] | None:
        return [f"job.{secrets.token_hex(6)}.>"]

    async def publish(self, *events: dict[str, Any]) -> list[str]:
        answer = await self.http.post("/events", json=list(events))
        assert answer.status_code == 201, answer.text
        return [event["cursor"] for event in answer.json()["events"]]

    async def numbers(self, entity: str, count: int, start: int = 0, kind: str = "output") -> list[str]:
        return await self.publish(
            *({"subject": f"job.{entity}.{kind}", "data": {"n": n}} for n in range(start, start + count))
        )

    async def session_ids(self) -> set[str]:
        """The sessions that there are: of all tests, whose servers share a store."""
        return {
            each["session_id"] for each in (await self.http.get("/callbacks/sessions?limit=500")).json()["sessions"]
        }

    async def stats(self, session: str) -> dict[str, Any]:
        return (await self.http.get(f"/callbacks/sessions/{session}/stats")).json()

    @contextlib.asynccontextmanager
    async def socket(self, session: str, query: str = "", **options: Any) -> AsyncIterator[Socket]:
        address = f"ws://127.0.0.1:{self.port}/callbacks/sessions/{session}/ws{query}"
        async with websockets.connect(address, max_size=None, **{**UNHURRIED, **options}) as raw:
            yield Socket(raw)

    @contextlib.asynccontextmanager
    async def sse(self, session: str, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Sse]:
        async with self.http.stream("GET", f"/callbacks/sessions/{session}/sse{query}", headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Sse(answer)

    async def poll(self, session: str, query: str = "") -> dict[str, Any]:
        answer = await self.http.get(f"/callbacks/sessions/{session}/events{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()


class Socket:
    """A WebSocket client that keeps application events and control objects apart."""

    def __init__(self, raw: websockets.ClientConnection) -> None:
        self.raw = raw
        self.controls: list[dict[str, Any]] = []

    async def next(self, within: float = PATIENCE) -> dict[str, Any]:
        async with asyncio.timeout(within):
            return json.loads(await self.raw.recv())

    async def control(self, name: str, within: float = PATIENCE) -> dict[str, Any]:
        while (said := await self.next(within)).get("control") != name:
            assert "control" in said, f"an event came before {name}: {said}"
        return said

    async def events(self, count: int, within: float = PATIENCE) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(within):
            while len(found) < count:
                said = json.loads(await self.raw.recv())
                (self.controls if "control" in said else found).append(said)
        return found


class Sse:
    """An SSE client that parses by hand: (event name, id, data)."""

    def __init__(self, answer: httpx.Response) -> None:
        self.headers = answer.headers
        self._lines = answer.aiter_lines()
        self.controls: list[tuple[str, str, Any]] = []
        self.last_id = ""

    async def next(self, within: float = PATIENCE) -> tuple[str, str, Any]:
        name, data = "message", []
        async with asyncio.timeout(within):
            async for line in self._lines:
                if line == "":
                    if data:
                        return name, self.last_id, json.loads("\n".join(data))
                    name, data = "message", []
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("id: "):
                    self.last_id = line[4:]
                elif line.startswith("data: "):
                    data.append(line[6:])
        raise AssertionError("the stream ended")

    async def events(self, count: int, within: float = PATIENCE) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            name, cursor, data = await self.next(within)
            if name == "message":
                assert data["cursor"] == cursor
                found.append(data)
            else:
                self.controls.append((name, cursor, data))
        return found


EdgeFactory = Callable[..., contextlib.AbstractAsyncContextManager[RunningEdge]]


@pytest.fixture
def edge_factory(nats_server: str) -> EdgeFactory:
    """Starts an edge with settings of the test's own: `async with edge_factory(session=SessionSettings(...)) as edge`.

    `nats` is where NATS is; BrokerSettings where a test is about what is not answered in time.
    """

    @contextlib.asynccontextmanager
    async def start(
        nats: str | BrokerSettings | None = None, topology: TopologySettings | None = None, **settings: Any
    ) -> AsyncIterator[RunningEdge]:
        listeners = bind("127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        stop, ready = asyncio.Event(), asyncio.Event()
        chosen = EdgeSettings(port=port, **{"drain": 0.1, "session": QUIET, **settings})
        opened: list[Edge] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(
                serve(
                    application(
                        chosen,
                        nats if isinstance(nats, BrokerSettings) else unhurried(nats or nats_server),
                        topology or TopologySettings(),
                        guard=GuardSettings(allow_loopback=True, allow_http=True),
                    ),
                    *listeners,
                    stop=stop,
                    opened=opened.append,
                    ready=lambda _port: ready.set(),
                )
            )
            await in_time(ready.wait())
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
                running = RunningEdge(port, http)
                running.edge = opened[0]
                try:
                    yield running
                finally:
                    stop.set()

    return start


@pytest.fixture
def quickly_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes an edge say that an actor is gone as soon as its lease has ended, however young the edge is."""
    monkeypatch.setattr(presence, "SETTLE_SECONDS", 0.0)


@pytest.fixture
async def edge(edge_factory: EdgeFactory) -> AsyncIterator[RunningEdge]:
    """A running edge with the usual settings."""
    async with edge_factory() as running:
        yield running


@pytest.fixture(params=[True, False], ids=["lane", "plain"])
async def either(edge_factory: EdgeFactory, request: pytest.FixtureRequest) -> AsyncIterator[RunningEdge]:
    """An edge that takes sockets over, and one that serves its readers through plain ASGI."""
    async with edge_factory(lane=request.param) as running:
        yield running


@pytest.fixture
async def store(nats_server: str) -> AsyncIterator[Broker]:
    """A broker beside the edge, as a producer or an oracle."""
    async with Broker(unhurried(nats_server), f"test-{secrets.token_hex(3)}") as broker:
        yield broker
