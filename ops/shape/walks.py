"""Follows three requests through one running edge: which files and functions they touch, and what is done twice.

Edge and actor run in this process under `sys.setprofile`, beside a nats-server of their own. Every call is seen, also those of
other tasks that have a turn meanwhile; so figures differ a little from run to run, and `make shape` takes the least of some.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import aiohttp
from aiohttp import web

from actors.agent.actor import Agent
from actors.system.supervisor import run_actor
from edge.app import application
from edge.runtime import Edge
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings, SessionSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.settings import BrokerSettings
from router.topology import TopologySettings

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors/", "router/", "edge/")
# What a walk waits for at most, in seconds.
TIMEOUT = 60.0


@dataclass
class Walk:
    """What one request touched.

    `way` has the files that were given the event, each stay in one once; `handing` has those that gave it to another file.
    """

    marker: str
    files: set[str]
    functions: set[tuple[str, str]]
    way: list[str]
    handing: set[str]
    packs: int = 0
    views: int = 0
    announcements: int = 0

    @property
    def visits(self) -> Counter[str]:
        """How often the event came to each file that handed it on; what only looks at it is left out."""
        handing = [name for name in self.way if name in self.handing]
        return Counter(name for name, before in zip(handing, [None, *handing], strict=False) if name != before)

    @property
    def twice(self) -> int:
        """Files that handed the event on and got it more than once."""
        return sum(count > 1 for count in self.visits.values())


class _Profile:
    """Notes the calls of this project's functions, and which of them are given something that carries the marker."""

    def __init__(self, marker: str) -> None:
        self.walk = Walk(marker, set(), set(), [], set())
        self._names: dict[CodeType, str | None] = {}

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        code, name = frame.f_code, self._file(frame)
        if name is None:
            return
        walk = self.walk
        walk.files.add(name)
        walk.functions.add((name, code.co_qualname))
        if name == "edge/view.py" and code.co_qualname == "View.of":
            walk.views += 1
        elif name == "edge/sessions/registry.py" and code.co_name == "_tell":
            walk.announcements += 1
        if any(_carries(frame.f_locals.get(argument), walk.marker) for argument in _arguments(code)):
            walk.packs += name == "router/codec.py" and code.co_name == "encode"
            if not walk.way or walk.way[-1] != name:
                walk.way.append(name)
            if (caller := self._file(frame.f_back)) not in (None, name):
                walk.handing.add(caller)

    def _file(self, frame: FrameType | None) -> str | None:
        """The file of a frame; None for one that is not of this project."""
        if frame is None:
            return None
        code = frame.f_code
        if code not in self._names:
            self._names[code] = _own(code.co_filename)
        return self._names[code]


def _own(path: str) -> str | None:
    """A file's name within the project; None for one of another."""
    with contextlib.suppress(ValueError):
        name = Path(path).relative_to(ROOT).as_posix()
        if name.startswith(PACKAGES):
            return name
    return None


def _arguments(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


# Where batches, and what else is handed on, have their events.
_HELD = ("records", "event", "job", "payload")


def _carries(value: Any, marker: str, depth: int = 2) -> bool:
    """Whether a value is or holds an event that was marked; its subject alone, as a text, is none."""
    if isinstance(value, bytes):
        return marker.encode() in value
    if isinstance(value, (list, tuple)):
        return depth > 0 and any(_carries(item, marker, depth - 1) for item in value[:4])
    if isinstance(value, dict):
        return marker in str(value.get("subject", ""))
    kind = type(value).__module__
    if not kind.startswith(("router.", "edge.")):
        return False
    if isinstance(subject := getattr(value, "subject", None), str):
        return marker in subject
    return depth > 0 and any(_carries(getattr(value, name, None), marker, depth - 1) for name in _HELD)


@contextlib.contextmanager
def profiling(marker: str) -> Iterator[Walk]:
    """Follows what carries a marker, for as long as the block lasts."""
    profile = _Profile(marker)
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield profile.walk
    finally:
        sys.setprofile(before)


@dataclass
class House:
    """One edge, one actor and a nats-server."""

    edge: Edge
    http: aiohttp.ClientSession

    async def session(self, **body: Any) -> str:
        """Makes a session, and gives its id."""
        async with self.http.post("/callbacks/sessions", json=body) as answer:
            answer.raise_for_status()
            return str((await answer.json())["session_id"])

    async def publish(self, subject: str) -> None:
        """Publishes one event over HTTP."""
        async with self.http.post("/events", json={"subject": subject, "data": {"n": 1}}) as answer:
            answer.raise_for_status()


@contextlib.asynccontextmanager
async def house() -> AsyncIterator[House]:
    """Starts a nats-server, and an edge and an actor in this process. Raises RouterError."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-shape-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()))
        await nats.start()
        stack.push_async_callback(nats.stop)
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "shape"))
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        stop, ready, opened = asyncio.Event(), asyncio.Event(), list[Edge]()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        group.create_task(run_actor(Agent, broker, stop=stop))
        group.create_task(
            serve(
                application(
                    EdgeSettings(port=port, drain=0.1, session=SessionSettings(heartbeat=3600.0)),
                    BrokerSettings(nats.url),
                    TopologySettings(),
                    guard=GuardSettings(allow_loopback=True, allow_http=True),
                ),
                listener,
                stop=stop,
                opened=opened.append,
                ready=lambda _port: ready.set(),
            )
        )
        async with asyncio.timeout(TIMEOUT):
            await ready.wait()
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        yield House(opened[0], http)


async def to_a_websocket(place: House) -> Walk:
    """POST /events, until a WebSocket has the event."""
    marker = f"s{secrets.token_hex(6)}"
    session = await place.session(subjects=[f"job.{marker}.>"])
    async with place.http.ws_connect(f"/callbacks/sessions/{session}/ws") as socket:
        # The second one meets a reader that has caught up.
        for _ in range(2):
            with profiling(marker) as walk:
                await place.publish(f"job.{marker}.done")
                async with asyncio.timeout(TIMEOUT):
                    while marker not in (await socket.receive_str()):
                        pass
            await asyncio.sleep(0.1)
    return walk


async def of_a_session(place: House) -> Walk:
    """Making a session, until its watch has reported it."""
    marker = f"s{secrets.token_hex(6)}"
    with profiling(marker) as walk:
        await place.session(subjects=[f"job.{marker}.>"], name=marker)
        # Until whatever the watch has reported meanwhile was heard.
        await asyncio.sleep(0.2)
    return walk


async def to_a_webhook(place: House) -> Walk:
    """POST /events, until a webhook's receiver has answered 204 and the delivery was noted."""
    marker = f"s{secrets.token_hex(6)}"
    got = asyncio.Event()

    async def receive(_request: web.Request) -> web.Response:
        got.set()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        await place.session(delivery_method="webhook", webhook_url=url, subjects=[f"job.{marker}.>"])
        for _ in range(2):
            got.clear()
            with profiling(marker) as walk:
                await place.publish(f"job.{marker}.done")
                async with asyncio.timeout(TIMEOUT):
                    await got.wait()
                # Until it is settled.
                await asyncio.sleep(0.5)
    finally:
        await runner.cleanup()
    return walk


async def least(follow: Callable[[House], Awaitable[Walk]], place: House, times: int = 3) -> Walk:
    """Follows something some times, and gives the walk that touched the fewest files."""
    walks = [await follow(place) for _ in range(times)]
    return min(walks, key=lambda walk: (len(walk.files), len(walk.functions)))
