"""Starts the servers that the comparison measures, and says how each is listened to and published to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from edge.auth.grants import Grants
from edge.auth.token import mint
from ops.bench import centrifugo, mercure, nchan
from ops.bench.cores import Cores
from ops.bench.fanout import CountingProcess
from ops.bench.publisher import payload, request
from ops.bench.stand import TRANSPORTS, BenchError, Plan, process, settle_on, stand

CALLBOARD, TOKENS = "Callboard", "Callboard, tokens"
CENTRIFUGO, MERCURE, NCHAN, STARLETTE = "Centrifugo", "Mercure", "nchan", "Starlette loop"
# What ends the head of an answer: ready is whoever has that, where a server says nothing more.
HEAD_END = "\r\n\r\n"


@dataclass(frozen=True)
class Door:
    """How a client listens: what it asks for, what it sends behind the answer's head, and what says that it listens."""

    path: str
    ready: str
    hello: str = ""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class BurstRequest:
    """The text of the HTTP requests that publish a burst."""

    text: str
    requests: int


@dataclass(frozen=True)
class Contestant:
    """A server that runs."""

    name: str
    pid: int
    port: int
    doors: Mapping[str, Door]
    # A burst of so many events to those who listen on a transport.
    # None for one of which only the connections are measured.
    publication: Callable[[str, int], BurstRequest] | None
    # The message broker behind it, counted apart.
    broker_pid: int | None = None

    @property
    def pids(self) -> list[int]:
        return [pid for pid in (self.pid, self.broker_pid) if pid is not None]


def text_frame(text: str) -> str:
    """A WebSocket text frame of a client, as latin-1; its masking key is zero, which masks nothing."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return (b"\x81" + length + bytes(4)).decode("latin-1") + text


@contextlib.asynccontextmanager
async def contestants(plan: Plan, cores: Cores) -> AsyncIterator[tuple[list[Contestant], dict[str, str]]]:
    """Runs all that are there until the block ends; beside them the names of the others, and why each is not there."""
    async with contextlib.AsyncExitStack() as stack:
        missing: dict[str, str] = {}
        started = [await stack.enter_async_context(made) for made in (_callboard(), _with_tokens())]
        program = await centrifugo.found()
        if isinstance(program, str):
            missing[CENTRIFUGO] = program
        else:
            with cores.for_server():
                started.append(await stack.enter_async_context(_centrifugo(program)))
        hub = mercure.found()
        try:
            if isinstance(hub, str):
                raise BenchError(hub)
            with cores.for_server():
                started.append(await stack.enter_async_context(_mercure(hub)))
        except BenchError as fault:
            missing[MERCURE] = str(fault)
        where = nchan.found(plan)
        if isinstance(where, str):
            missing[NCHAN] = where
        else:
            with cores.for_server():
                started.append(await stack.enter_async_context(_nchan(*where)))
        started.append(await stack.enter_async_context(_starlette()))
        settle_on(cores.server, *(each.pid for each in started))
        settle_on(cores.others, *(each.broker_pid for each in started if each.broker_pid is not None))
        yield started, missing


@contextlib.asynccontextmanager
async def _callboard() -> AsyncIterator[Contestant]:
    async with stand() as place:
        subjects = {transport: f"job.versus-{transport}.said" for transport in TRANSPORTS}
        doors = {
            each: Door(f"{await place.session(subjects[each])}/{end}", '"session_id"')
            for each, end in TRANSPORTS.items()
        }

        def publication(transport: str, burst: int) -> BurstRequest:
            event = f'{{"subject":"{subjects[transport]}","data":{payload()}}}'
            return BurstRequest(request(place.port, "/events", event if burst == 1 else _list([event] * burst)), 1)

        yield Contestant(CALLBOARD, place.edge_pid, place.port, doors, publication, place.nats_pid)


@contextlib.asynccontextmanager
async def _with_tokens() -> AsyncIterator[Contestant]:
    """One that asks for tokens: all readers have the same, as who comes back has the one that was verified before."""
    secret = secrets.token_hex(32)
    token = mint(secret, "bench", Grants(read=(">",)), 3600, None, None)
    headers = {"Authorization": f"Bearer {token}"}
    variables = {"CALLBOARD_JWT_SECRET": secret, "CALLBOARD_EDGE_LIMITS_CONNECTIONS_PER_PRINCIPAL": "0"}
    async with stand(variables=variables) as place:
        place.http.headers.update(headers)
        path = await place.session("job.versus.said")
        said = tuple(f"{name}: {value}" for name, value in headers.items())
        doors = {each: Door(f"{path}/{end}", '"session_id"', headers=said) for each, end in TRANSPORTS.items()}
        yield Contestant(TOKENS, place.edge_pid, place.port, doors, None, place.nats_pid)


@contextlib.asynccontextmanager
async def _centrifugo(program: Path) -> AsyncIterator[Contestant]:
    async with centrifugo.centrifugo(program) as server:
        connect = json.dumps({"subs": {"sse": {}}})
        commands = [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "websocket"}}]
        doors = {
            "websocket": Door(
                "/connection/websocket", '"subscribe":', text_frame("\n".join(map(json.dumps, commands)))
            ),
            "sse": Door(f"/connection/uni_sse?cf_connect={quote(connect)}", '"connect":'),
        }

        def publication(transport: str, burst: int) -> BurstRequest:
            said = f'{{"channel":"{transport}","data":{payload()}}}'
            if burst == 1:
                return BurstRequest(request(server.port, "/api/publish", said), 1)
            publish = f'{{"publish":{said}}}'
            batch = f'{{"commands":{_list([publish] * burst)}}}'
            return BurstRequest(request(server.port, "/api/batch", batch), 1)

        yield Contestant(CENTRIFUGO, server.pid, server.port, doors, publication)


@contextlib.asynccontextmanager
async def _mercure(program: Path) -> AsyncIterator[Contestant]:
    async with mercure.mercure(program) as server:
        headers = (f"Authorization: Bearer {server.token}",)

        def publication(transport: str, burst: int) -> BurstRequest:
            form = f"topic={transport}&data={quote(payload())}"
            said = request(server.port, mercure.PATH, form, "application/x-www-form-urlencoded", headers)
            return BurstRequest(said * burst, burst)

        doors = {"sse": Door(f"{mercure.PATH}?match=sse", HEAD_END)}
        yield Contestant(MERCURE, server.pid, server.port, doors, publication)


@contextlib.asynccontextmanager
async def _nchan(binary: str, module: Path) -> AsyncIterator[Contestant]:
    async with nchan.nginx(binary, module) as server:
        doors = {"websocket": Door("/websocket", HEAD_END), "sse": Door("/sse", HEAD_END)}
        yield Contestant(NCHAN, server.pid, server.port, doors, _one_a_request(server.port))


@contextlib.asynccontextmanager
async def _starlette() -> AsyncIterator[Contestant]:
    script = Path(__file__).parent / "peers" / "starlette_loop.py"
    async with process(sys.executable, str(script), piped=True) as child:
        port = int((await CountingProcess(child).line())[1])
        doors = {"websocket": Door("/ws", HEAD_END), "sse": Door("/sse", ": hello")}
        yield Contestant(STARLETTE, child.pid, port, doors, _one_a_request(port))


def _one_a_request(port: int) -> Callable[[str, int], BurstRequest]:
    """For those that know no batches: the requests of a burst follow one another without waiting for the answers."""

    def publication(transport: str, burst: int) -> BurstRequest:
        return BurstRequest(request(port, f"/say/{transport}", payload()) * burst, burst)

    return publication


def _list(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


async def settled(pause: float = 1.0) -> None:
    """Leaves servers the time to notice that clients went."""
    await asyncio.sleep(pause)
