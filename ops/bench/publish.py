"""Measures publishing: events stored and acknowledged a second, by the SDK's broker and over HTTP, one by one and in lists.

The SDK runs in the benchmark's own process. HTTP requests are made once and sent again and again over raw sockets, so that
the client costs less than the edge.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import selectors
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

import msgpack

from ops.bench.cores import Cores
from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, BenchError, CpuWatch, Plan, Stand, settle_on, stand
from router.event import Event

PAYLOAD = {"text": "x" * 89}  # 100 bytes of JSON
SUBJECT = "job.bench.said"
IN_FLIGHT = (1, 256)
JSON, MSGPACK = "application/json", "application/msgpack"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Posting(NamedTuple):
    """How events are posted: how many in a request, over how many connections with one request in flight each, as what.

    The events are of these subjects in turn.
    """

    size: int
    beside: int
    kind: str = JSON
    subjects: tuple[str, ...] = (SUBJECT,)

    @property
    def title(self) -> str:
        many = "single" if self.size == 1 else f"{self.size:,} a request"
        return f"POST /events, {many}{' of msgpack' if self.kind == MSGPACK else ''}, {self.beside} in flight"

    def body(self, connection: int = 0) -> bytes:
        """What one of the connections posts."""
        subjects = [self.subjects[(connection + place) % len(self.subjects)] for place in range(self.size)]
        events = [{"subject": subject, "data": PAYLOAD} for subject in subjects]
        said = events[0] if self.size == 1 else events
        return msgpack.packb(said) if self.kind == MSGPACK else json.dumps(said).encode()

    def request(self, port: int, connection: int = 0) -> bytes:
        """The same as an HTTP request."""
        body = self.body(connection)
        head = f"POST /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {self.kind}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


POSTS = (
    Posting(1, 64), Posting(10, 1), Posting(10, 16), Posting(100, 1), Posting(100, 4), Posting(100, 4, MSGPACK),
    Posting(1000, 1), Posting(1000, 4),
)  # fmt: skip


@dataclass
class PublishRun:
    """One run: events a second, and what it cost."""

    rate: float
    per_cpu: float
    busy: dict[str, float]


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures both ways, in turn."""
    cores = Cores.here()
    async with stand() as place, contextlib.AsyncExitStack() as stack:
        stack.callback(settle_on, os.sched_getaffinity(0), os.getpid())
        settle_on(cores.server, place.edge_pid)
        settle_on(cores.others, place.nats_pid)
        found: dict[str, list[PublishRun]] = {}
        await _sdk(place, 256, 0.3)
        await posted(place, POSTS[0], 0.3)
        for _ in range(RUNS):
            settle_on(cores.server, os.getpid())
            for beside in IN_FLIGHT:
                title = f"SDK publish, {'one after the other' if beside == 1 else f'{beside} in flight'}"
                found.setdefault(title, []).append(await _sdk(place, beside, plan.seconds))
            settle_on(cores.others, os.getpid())
            for posting in POSTS:
                found.setdefault(posting.title, []).append(await posted(place, posting, plan.seconds))
        for title, runs in found.items():
            per_cpu = [each.per_cpu for each in runs] if title.startswith("POST") else []
            yield ReportRow(
                "publish", title, "events/s", [each.rate for each in runs], per_cpu, middle(each.busy for each in runs)
            )


async def _sdk(place: Stand, beside: int, seconds: float) -> PublishRun:
    watch = CpuWatch(sdk=os.getpid(), nats=place.nats_pid)
    began = time.perf_counter()
    until = began + seconds
    counts = [0] * beside

    async def one(number: int) -> None:
        while time.perf_counter() < until:
            await place.broker.publish(Event.new(SUBJECT, PAYLOAD, source="bench"))
            counts[number] += 1

    await asyncio.gather(*map(one, range(beside)))
    passed = time.perf_counter() - began
    return PublishRun(sum(counts) / passed, sum(counts) / watch.read()["sdk"], watch.shares())


async def posted(place: Stand, posting: Posting, seconds: float) -> PublishRun:
    """Posts for so many seconds."""
    watch = CpuWatch(edge=place.edge_pid, nats=place.nats_pid, client=os.getpid())
    count, passed = await asyncio.to_thread(post, place.port, posting, seconds)
    events = count * posting.size
    return PublishRun(events / passed, events / watch.read()["edge"], watch.shares())


def post(port: int, posting: Posting, seconds: float) -> tuple[int, float]:
    """Posts over several connections, on each when its last request was answered; how often, in how many seconds."""
    with selectors.DefaultSelector() as selector:
        for number in range(posting.beside):
            fresh, asked = socket.create_connection(("127.0.0.1", port)), posting.request(port, number)
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(fresh, selectors.EVENT_READ, (bytearray(), asked))
            fresh.sendall(asked)
        began = time.perf_counter()
        answered, waiting = 0, posting.beside
        while waiting:
            ready = selector.select(10)
            if not ready:
                raise BenchError("POST /events is not answered")
            for key, _ in ready:
                connection, (have, asked) = key.fileobj, key.data
                assert isinstance(connection, socket.socket)
                have += connection.recv(1 << 16)
                if not _whole(have):
                    continue
                have.clear()
                answered += 1
                if time.perf_counter() - began < seconds:
                    connection.sendall(asked)
                else:
                    waiting -= 1
        passed = time.perf_counter() - began
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return answered, passed


def _whole(answer: bytearray) -> bool:
    """Says whether an answer is complete; raises BenchError where it is none that was hoped for."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(answer, 0, end)
    if not answer.startswith(b"HTTP/1.1 201") or length is None:
        raise BenchError(f"POST /events: {bytes(answer[:200])!r}")
    return len(answer) >= end + 4 + int(length[1])
