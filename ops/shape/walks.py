"""Follows three requests through one running edge: which files and functions they touch, and what is done twice.

Edge and actor run in this process under `sys.setprofile`, beside a nats-server of their own. Every call is seen, also those of
tasks that have a turn meanwhile without being asked, such as sweeps and leases. So each request is followed several times, on
a subject that no actor takes and until nothing that carries its event has been called for a while, and only files and
functions that are touched every time count.

A file hands the event on where it calls another file with it. A coroutine that goes on after it has waited is no second call; a
value that is asked for its own fields, or turned into bytes, is no stage; and the files that carry bytes between this process
and a socket, whatever the bytes are, lie before and behind the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
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
# The modules of the values that the others hand to one another, and of their forms.
VALUES = (
    "router/event.py",
    "router/record.py",
    "router/cursor.py",
    "router/codec.py",
    "router/own_events.py",
    "edge/types.py",
)
# HTTP on one side and NATS on the other.
WIRE = ("edge/server/", "edge/transports/fast/upgrade.py", "router/nats/")
_GENERATOR = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
# A walk ends once nothing that carries the event has been called for so long, in seconds: after a webhook's answer longer
# than attempts wait for others to be stored with them.
QUIET, WEBHOOK_QUIET = 0.05, 0.15
# So short a walk meets few of the tasks that do something every second, and five of them none each time.
WALKS = 5


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
    # When something that carries the event was called last, by the monotonic clock.
    last: float = 0.0

    @property
    def visits(self) -> Counter[str]:
        """How often the event came to each file that handed it on; what only looks at it is left out."""
        handing = [name for name in self.way if name in self.handing and not name.startswith((*VALUES, *WIRE))]
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
        # Coroutines and generators that were called before.
        self._known: set[FrameType] = set()

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
        elif name == "edge/sessions/registry.py" and code.co_name == "_announce":
            walk.announcements += 1
        if any(_carries(frame.f_locals.get(argument), walk.marker) for argument in _arguments(code)):
            walk.last = time.monotonic()
            if code.co_flags & _GENERATOR:
                if frame in self._known:
                    return
                self._known.add(frame)
            walk.packs += name == "router/codec.py" and code.co_name == "encode_checked"
            if not walk.way or walk.way[-1] != name:
                walk.way.append(name)
            caller = self._file(frame.f_back)
            if caller not in (None, name) and not name.startswith(VALUES):
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


@contextlib.asynccontextmanager
async def profiling(marker: str, quiet: float = QUIET) -> AsyncIterator[Walk]:
    """Follows what carries a marker, for as long as the block lasts and until for `quiet` seconds nothing has."""
    profile = _Profile(marker)
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield profile.walk
        async with asyncio.timeout(TIMEOUT):
            while (left := profile.walk.last + quiet - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left)
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


class _Unhurried(Agent):
    """An agent whose clock does not tick while something is followed."""

    every = 3600.0


@contextlib.asynccontextmanager
async def house() -> AsyncIterator[House]:
    """Starts a nats-server, and an edge and an actor in this process. Raises RouterError."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-shape-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()))
        await nats.start()
        stack.push_async_callback(nats.stop)
        broker = await stack.enter_async_context(Broker(BrokerSettings(nats.url), "shape"))
        listeners = bind("127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        stop, ready, opened = asyncio.Event(), asyncio.Event(), list[Edge]()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        group.create_task(run_actor(_Unhurried, broker, stop=stop))
        group.create_task(
            serve(
                application(
                    EdgeSettings(port=port, drain=0.1, session=SessionSettings(heartbeat=3600.0)),
                    BrokerSettings(nats.url),
                    TopologySettings(),
                    guard=GuardSettings(allow_loopback=True, allow_http=True),
                ),
                *listeners,
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
    session = await place.session(subjects=[f"order.{marker}.>"])
    async with place.http.ws_connect(f"/callbacks/sessions/{session}/ws") as socket:
        # The second one meets a reader that has caught up.
        for _ in range(2):
            async with profiling(marker) as walk:
                await place.publish(f"order.{marker}.done")
                async with asyncio.timeout(TIMEOUT):
                    while marker not in (await socket.receive_str()):
                        pass
    return walk


async def of_a_session(place: House) -> Walk:
    """Making a session, until its watch has reported it."""
    marker = f"s{secrets.token_hex(6)}"
    async with profiling(marker) as walk:
        await place.session(subjects=[f"order.{marker}.>"], name=marker)
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
        await place.session(delivery_method="webhook", webhook_url=url, subjects=[f"order.{marker}.>"])
        for _ in range(2):
            got.clear()
            async with profiling(marker, WEBHOOK_QUIET) as walk:
                await place.publish(f"order.{marker}.done")
                async with asyncio.timeout(TIMEOUT):
                    await got.wait()
    finally:
        await runner.cleanup()
    return walk


async def common(follow: Callable[[House], Awaitable[Walk]], place: House, times: int = WALKS) -> Walk:
    """Follows something some times, and gives the shortest walk with the files and functions that all of them touched."""
    walks = [await follow(place) for _ in range(times)]
    shortest = min(walks, key=lambda walk: len(walk.way))
    return replace(
        shortest,
        files=set.intersection(*(walk.files for walk in walks)),
        functions=set.intersection(*(walk.functions for walk in walks)),
    )
