"""Streams that are opened at once: as the application opens them, and only where it would open them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from edge.http.opener import StreamOpener
from edge.settings import LimitSettings
from edge.transports.fast.head import StreamRequest
from tests.clocks import set_clock
from tests.edge.auth.conftest import SecuredFactory, secured, token  # noqa: F401
from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.edge.transports.fast.raw import connected, until
from tests.edge.transports.fast.running import Path, running
from tests.waiting import PATIENCE, eventually

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
# A request with this is left to the application.
TRACED = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request for a stream was opened at once."""
    found: list[bool] = []
    real = StreamOpener.open

    def open_and_note(self: StreamOpener, asked: StreamRequest, *given: Any) -> bool:
        found.append(real(self, asked, *given))
        return found[-1]

    monkeypatch.setattr(StreamOpener, "open", open_and_note)
    return found


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
async def edge(nats_server: str, request: pytest.FixtureRequest) -> AsyncIterator[RunningEdge]:
    async with running(nats_server, Path(True, request.param)) as edge:
        yield edge


@contextlib.asynccontextmanager
async def asked(
    edge: RunningEdge, session: str, way: str, *headers: str, query: str = ""
) -> AsyncIterator[tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]]:
    """The head of what a request is answered, and the connection behind it."""
    lines = [f"GET /callbacks/sessions/{session}/{way}{query} HTTP/1.1", f"Host: 127.0.0.1:{edge.port}"]
    lines += [*(UPGRADE if way == "ws" else ()), *headers, "", ""]
    async with connected(edge) as (reader, writer):
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(PATIENCE):
            yield await reader.readuntil(b"\r\n\r\n"), reader, writer


@contextlib.asynccontextmanager
async def first_reader(edge: RunningEdge, session: str, opened: list[bool], *headers: str) -> AsyncIterator[None]:
    """A reader that reads a session, as others come; of itself nothing stays noted."""
    async with asked(edge, session, "sse", *headers) as (_, reader, _writer):
        await until(reader, b'"session_id"')
        await eventually(lambda: opened)
        opened.clear()
        yield


async def noted(opened: list[bool], expected: list[bool]) -> None:
    """Waits until it was noted what was opened: the edge is in a thread of its own, and its answer may be here before."""
    await eventually(lambda: len(opened) >= len(expected))
    assert opened == expected


def _fields(head: bytes) -> tuple[str, list[str]]:
    """The first line of a head, and its headers in any order; two answers may be a second apart."""
    first, *lines = head.decode().strip().split("\r\n")
    named = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    return first, sorted(f"{name}: {'' if name == 'date' else value}" for name, value in named)


@pytest.mark.parametrize(
    ("way", "headers"),
    [
        ("sse", []),
        ("sse", ["Accept: text/event-stream", "Connection: keep-alive"]),
        ("sse", ["Origin: http://localhost:5173"]),
        ("sse", ["Origin: https://app.example.com"]),
        ("ws", []),
        ("ws", ["Origin: http://localhost:5173"]),
        ("ws", ["Sec-WebSocket-Protocol: other, callboard.v1"]),
        ("ws", ["Sec-WebSocket-Protocol: cloudevents.json, callboard.v1"]),
        ("ws", ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]),
    ],
)
async def test_the_answer_is_that_of_the_application(
    nats_server: str, opened: list[bool], way: str, headers: list[str]
) -> None:
    path = Path(True, uvloop.new_event_loop)
    async with running(nats_server, path, allowed_origins=("https://app.example.com",)) as edge:
        session = await edge.session()
        async with (
            first_reader(edge, session, opened),
            asked(edge, session, way, *headers) as (fast, _, _),
            asked(edge, session, way, *headers, TRACED) as (slow, _, _),
        ):
            await noted(opened, [True])

    assert _fields(fast) == _fields(slow)


async def test_readers_that_are_opened_at_once_miss_nothing(edge: RunningEdge, opened: list[bool], entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 5)
    async with (
        first_reader(edge, session, opened),
        edge.socket(session, compression=None) as socket,
        edge.socket(session, f"?cursor={cursors[2]}") as deflated,
        edge.sse(session, headers={"Last-Event-ID": cursors[3]}) as stream,
        edge.sse(session, "?cursor=earliest") as waiting,
    ):
        # What comes on a connection that was used before is not asked here.
        await eventually(lambda: opened[:2] == [True, True] and all(opened))
        await edge.numbers(entity, 2, start=5)
        ready = await socket.control("ready")
        assert ready["session_id"] == session and ready["recovered"] is True
        assert n(await socket.events(7)) == [0, 1, 2, 3, 4, 5, 6]
        assert n(await deflated.events(4)) == [3, 4, 5, 6]
        assert n(await stream.events(3)) == [4, 5, 6]
        assert n(await waiting.events(7)) == [0, 1, 2, 3, 4, 5, 6]


async def test_a_socket_that_says_where_it_begins_is_waited_for(
    edge: RunningEdge, opened: list[bool], entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 3)
    async with first_reader(edge, session, opened), edge.socket(session, "?start=message&controls=all") as socket:
        await noted(opened, [True])
        await socket.raw.send(json.dumps({"control": "resume", "cursor": cursors[1]}))
        await socket.control("ready")
        assert n(await socket.events(1)) == [2]
        await socket.raw.send(json.dumps({"control": "ping"}))
        await socket.control("pong")


async def test_requests_are_counted_as_those_of_the_application(edge: RunningEdge, opened: list[bool]) -> None:
    async def counted(way: str, status: str) -> float:
        text = (await edge.http.get("/metrics")).text
        name = f'edge_requests_total{{route="/callbacks/sessions/{{session_id}}/{way}",status="{status}"}} '
        return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))

    session = await edge.session()
    async with first_reader(edge, session, opened):
        before = await counted("ws", "1xx"), await counted("sse", "2xx")
        opened.clear()
        async with asked(edge, session, "ws"), asked(edge, session, "sse"), asked(edge, session, "sse"):
            after = await counted("ws", "1xx"), await counted("sse", "2xx")
            stats = (await edge.http.get(f"/callbacks/sessions/{session}/stats")).json()
        await noted(opened, [True] * 3)

    assert (after[0] - before[0], after[1] - before[1]) == (1, 2)
    assert stats["readers"] == {"websocket": 1, "sse": 3, "polling": 0}


async def test_what_is_not_plain_or_refused_is_left_to_the_application(nats_server: str, opened: list[bool]) -> None:
    async with running(nats_server, Path(True, uvloop.new_event_loop)) as edge:
        session = await edge.session()
        async with first_reader(edge, session, opened):
            for way, query, headers, status in (
                ("sse", "", ["Origin: https://evil.example"], 403),
                ("ws", "", ["Origin: https://evil.example"], 403),
                ("sse", "?cursor=garbage", [], 400),
                ("sse", "?last=x", [], 400),
                ("sse", "?max_rate=x", [], 400),
                ("sse", "?cursor=now&last=3", [], 400),
                ("sse", "?lastEventId=0", [], 200),
                ("sse", f"?x={'y' * 600}", [], 200),
                ("sse", "", ["Last-Event-ID: 0"], 200),
                ("ws", "?cursor=garbage", [], 101),
                ("ws", "", ["Sec-WebSocket-Extensions: ="], 400),
                ("ws", "", ["Sec-WebSocket-Protocol: callboard.v1, bearer.se cret"], 400),
            ):
                opened.clear()
                async with asked(edge, session, way, *headers, query=query) as (head, _, _):
                    assert head.startswith(f"HTTP/1.1 {status} ".encode()), (query, headers, head)
                await noted(opened, [False])

            opened.clear()
            async with connected(edge) as (reader, writer):
                writer.write(f"GET /callbacks/sessions/{session}/sse HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
                assert (await until(reader, b"forbidden_host")).startswith(b"HTTP/1.1 421")
            async with asked(edge, "sess_" + "0" * 24, "sse") as (head, _, _):
                assert head.startswith(b"HTTP/1.1 404")
            await noted(opened, [False, False])


async def test_a_process_that_drains_opens_nothing(edge_factory: EdgeFactory, opened: list[bool]) -> None:
    async with edge_factory() as edge:
        session = await edge.session()
        async with first_reader(edge, session, opened):
            edge.edge.draining = True
            async with asked(edge, session, "sse") as (head, _, _):
                assert head.startswith(b"HTTP/1.1 503") and opened == [False]


# With keys.


async def test_a_token_opens_what_it_grants_and_nothing_else(secured: SecuredFactory, opened: list[bool]) -> None:  # noqa: F811
    async with secured() as edge:
        alice = edge.as_("alice", read=["job.>"])
        session = await alice.session(subjects=["job.>"])
        good = f"Authorization: Bearer {alice.token}"
        narrow = f"Authorization: Bearer {token('alice', read=['camera.>'])}"
        bob = f"Authorization: Bearer {token('bob', read=['job.>'])}"
        operator = f"Authorization: Bearer {token('carol', read=['>'], operate=True)}"
        ticket = (await alice.http.post("/tickets", json={"session_id": session})).json()["ticket"]
        async with first_reader(edge, session, opened, good):
            for way, headers, query, status, at_once in (
                ("sse", [good], "", 200, True),
                ("ws", [good], "", 101, True),
                ("ws", [f"Sec-WebSocket-Protocol: callboard.v1, bearer.{alice.token}"], "", 101, True),
                ("sse", [operator], "", 200, True),
                ("sse", [], "", 401, False),
                ("ws", [], "", 401, False),
                ("sse", ["Authorization: Bearer x.y.z"], "", 401, False),
                ("sse", ["Authorization: Basic x"], "", 401, False),
                ("sse", [bob], "", 404, False),
                ("sse", [narrow], "", 403, False),
                ("sse", [good], f"?token={alice.token}", 401, False),
                ("ws", [good, f"Sec-WebSocket-Protocol: bearer.{alice.token}"], "", 401, False),
                ("sse", [], f"?ticket={ticket}", 200, False),
            ):
                async with asked(edge, session, way, *headers, query=query) as (head, _, _):
                    assert head.startswith(f"HTTP/1.1 {status} ".encode()), (headers, head)
                    assert opened.pop() == at_once, headers
            assert opened == []


async def test_connections_are_counted_and_given_back(secured: SecuredFactory, opened: list[bool]) -> None:  # noqa: F811
    async with secured(limits=LimitSettings(connections_per_principal=3)) as edge:
        alice = edge.as_("alice", read=[">"])
        session = await alice.session()
        good = f"Authorization: Bearer {alice.token}"
        async with first_reader(edge, session, opened, good):
            async with asked(edge, session, "sse", good), asked(edge, session, "ws", good):
                async with asked(edge, session, "sse", good) as (head, _, _):
                    assert head.startswith(b"HTTP/1.1 429")
                assert opened == [True, True, False]

            async def has_room() -> bool:
                async with asked(edge, session, "sse", good) as (head, _, _):
                    return head.startswith(b"HTTP/1.1 200")

            await eventually(has_room)


async def test_handshakes_are_counted_once(secured: SecuredFactory, opened: list[bool]) -> None:  # noqa: F811
    limits = LimitSettings(loopback=True, handshakes_per_address=0.001, handshakes_per_address_burst=4)
    async with secured(limits=limits) as edge:
        alice = edge.as_("alice", read=[">"])
        session = await alice.session()
        good = f"Authorization: Bearer {alice.token}"
        async with first_reader(edge, session, opened, good):
            statuses = []
            for _ in range(5):
                async with asked(edge, session, "sse", good) as (head, _, _):
                    statuses.append(int(head.split()[1]))

    assert statuses == [200, 200, 200, 429, 429]
    assert opened == [True, True, True, False, False]


async def test_an_address_that_sent_too_many_bad_tokens_is_left_to_the_application(
    secured: SecuredFactory,  # noqa: F811
    opened: list[bool],
) -> None:
    limits = LimitSettings(loopback=True, failures_per_address=0.001, failures_per_address_burst=2)
    async with secured(limits=limits) as edge:
        alice = edge.as_("alice", read=[">"])
        session = await alice.session()
        good = f"Authorization: Bearer {alice.token}"
        async with first_reader(edge, session, opened, good):
            statuses = []
            for header in (good, "Authorization: Bearer x.y.z", "Authorization: Bearer x.y.z", good):
                async with asked(edge, session, "sse", header) as (head, _, _):
                    statuses.append(int(head.split()[1]))

    assert statuses == [200, 401, 401, 429]
    assert opened == [True, False, False, False]


async def test_a_reader_that_was_opened_at_once_ends_with_its_token(
    secured: SecuredFactory,  # noqa: F811
    entity: str,
    opened: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = set_clock(monkeypatch, *(f"edge.auth.{part}" for part in ("connection", "principal", "tickets", "token")))
    async with secured() as edge:
        alice = edge.as_("alice", ttl=6000, read=[">"])
        # Not what the clock makes other parts say.
        session = await alice.session(subjects=[f"job.{entity}.>"])
        good = f"Authorization: Bearer {alice.token}"
        async with (
            first_reader(edge, session, opened, good),
            asked(edge, session, "sse", good) as (_, reader, _),
            alice.socket(session) as socket,
        ):
            assert opened == [True, True]
            clock.advance(7000)
            assert b"4003" in await until(reader, b"event: bye")
            assert (await socket.control("bye"))["code"] == 4003


async def test_the_address_behind_a_trusted_proxy_is_the_one_that_is_limited(
    secured: SecuredFactory,  # noqa: F811
    opened: list[bool],
) -> None:
    limits = LimitSettings(handshakes_per_address=0.001, handshakes_per_address_burst=2)
    async with secured(limits=limits, trusted_proxies=("127.0.0.0/8",)) as edge:
        alice = edge.as_("alice", read=[">"])
        session = await alice.session()
        good = f"Authorization: Bearer {alice.token}"
        async with first_reader(edge, session, opened, good):
            statuses = []
            for client in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
                async with asked(edge, session, "sse", good, f"X-Forwarded-For: {client}") as (head, _, _):
                    statuses.append(int(head.split()[1]))

    assert statuses == [200, 200, 429, 200]
    assert opened == [True, True, False, True]
