"""Runs thousands of reading clients of one edge at less cost than that of writing to them: one `read` a client and event.

A client is a descriptor in a list, in the order in which all were opened, which is the one in which an edge writes to them. So each
is read once its event is there, and the first that has none ends a round: nobody waits on a socket, and nothing is parsed but for
the event's mark. `python -m ops.bench.crowd_readers` takes one JSON order a line.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from ops.bench.readers import request

HOST = "127.0.0.1"
MARK = b'"at":1'
READY = b'"session_id"'
# A frame without a payload behind a heartbeat, and its answer with a mask of zeros (RFC 6455, section 5).
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"
# More than an event and the heartbeats before it.
MOST = 4096
# Between two rounds: meanwhile the edge has written to some hundred clients.
PAUSE = 0.005
# Between two looks at who is to be answered, and how many a look finds.
ROUND_TRIP = 0.02
MOST_AT_ONCE = 10_000
# Seconds in which some client at least is answered.
PATIENCE = 60.0
# Linux: a port is chosen when the other end is known, so that two connections to other ends may share it.
IP_BIND_ADDRESS_NO_PORT = 24


class OpeningClient:
    """A connection that has not had its `ready` yet."""

    __slots__ = ("asked", "began", "head", "transport")

    def __init__(self, transport: str, asked: bytes) -> None:
        self.transport = transport
        self.asked = asked
        self.began = time.monotonic()
        self.head = b""


class CrowdReaders:
    """The clients of one process, by the name of their group and their transport."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, list[int]]] = {}

    def open(
        self, group: str, port: int, doors: Sequence[dict[str, Any]], count: int, at_once: int, source: str
    ) -> dict[str, float]:
        """Connects clients, so many at once, each to the next of the doors, until each has had its `ready`.

        `source` is the address that they come from. Returns how long the last one took, and the longest and the shortest wait of
        a client from its connection to its `ready`.
        """
        began = time.monotonic()
        asked = [
            (door["transport"], request(f"{HOST}:{port}", door["path"], door["transport"], door["headers"]))
            for door in doors
        ]
        waits: list[float] = []
        for first in range(0, count, at_once):
            numbers = range(first, min(first + at_once, count))
            waits += self._connect(group, port, [asked[number % len(asked)] for number in numbers], source)
        return {"seconds": time.monotonic() - began, "longest": max(waits), "shortest": min(waits)}

    def _connect(self, group: str, port: int, asked: Sequence[tuple[str, bytes]], source: str) -> list[float]:
        queues = self._groups.setdefault(group, {})
        waits: list[float] = []
        opening: dict[int, OpeningClient] = {}
        with select.epoll() as poll:
            for transport, request in asked:
                client = _connected(source, port)
                poll.register(client, select.EPOLLOUT)
                opening[client] = OpeningClient(transport, request)
                queues.setdefault(transport, []).append(client)
            while opening:
                ready = poll.poll(PATIENCE)
                if not ready:
                    raise SystemExit(f"{len(opening)} clients were not answered within {PATIENCE:g} s")
                for client, happened in ready:
                    state = opening[client]
                    if happened & select.EPOLLIN:
                        if _is_ready(client, state):
                            waits.append(time.monotonic() - state.began)
                            poll.unregister(client)
                            del opening[client]
                    elif happened & (select.EPOLLERR | select.EPOLLHUP):
                        raise SystemExit("a connection was refused")
                    else:
                        os.write(client, state.asked)
                        poll.modify(client, select.EPOLLIN)
        return waits

    def drain(self, group: str) -> dict[str, Any]:
        """Reads what has come, such as heartbeats."""
        for client in itertools.chain.from_iterable(self._groups[group].values()):
            with contextlib.suppress(BlockingIOError):
                while len(os.read(client, MOST)) == MOST:
                    pass
        return {}

    def answer(self, seconds: float) -> dict[str, Any]:
        """Reads what the WebSockets of all groups are sent for so long, and answers their pings; says how many there were."""
        pings, until = 0, time.monotonic() + seconds
        with select.epoll() as poll:
            for queues in self._groups.values():
                for client in queues.get("websocket", ()):
                    poll.register(client, select.EPOLLIN)
            while (left := until - time.monotonic()) > 0:
                # Nobody waits for what comes: to wake a reader on the same machine would be a cost of who sends.
                time.sleep(min(left, ROUND_TRIP))
                for client, _ in poll.poll(0, MOST_AT_ONCE):
                    if os.read(client, MOST).endswith(PING):
                        os.write(client, PONG)
                        pings += 1
        return {"pings": pings}

    def collect(self, group: str, seconds: float) -> dict[str, Any]:
        """Reads until each client has one more event; says when the last one had."""
        until = time.monotonic() + seconds
        # From the end: a list gives its last one away most cheaply.
        queues = [queue[::-1] for queue in self._groups[group].values()]
        rests: dict[int, bytes] = {}
        while True:
            for queue in queues:
                _take(queue, rests)
            if not any(queues):
                return {"ended": time.monotonic()}
            if time.monotonic() > until:
                return {"fault": f"{sum(map(len, queues)):,} clients had no event after {seconds:g} s"}
            time.sleep(PAUSE)

    def close(self) -> dict[str, Any]:
        """Closes all connections."""
        for queues in self._groups.values():
            for client in itertools.chain.from_iterable(queues.values()):
                os.close(client)
        self._groups.clear()
        return {}


def _connected(source: str, port: int) -> int:
    """The descriptor of a connection that is being made."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind((source, 0))
    client.connect_ex((HOST, port))
    return client.detach()


def _is_ready(client: int, state: OpeningClient) -> bool:
    said = os.read(client, MOST)
    state.head += said
    if not said or not state.head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 101 ")):
        raise SystemExit(f"refused: {state.head[:300]!r}")
    return READY in state.head


def _take(queue: list[int], rests: dict[int, bytes]) -> None:
    """Takes an event from one client after the other, until one has none yet.

    `rests` has the ends of what came before an event, which may be the beginning of its mark.
    """
    read, count = os.read, len(MARK)
    try:
        while queue:
            client = queue[-1]
            said = read(client, MOST)
            if rests:
                said = rests.pop(client, b"") + said
            events = said.count(MARK)
            if events == 1:
                queue.pop()
            elif events:
                raise SystemExit(f"a client had {events} events, and one was said")
            elif said:
                rests[client] = said[1 - count :]
            else:
                raise SystemExit("the server closed a connection")
    except BlockingIOError:
        return


def main() -> None:
    """Does what the lines of the input say, until they end."""
    readers = CrowdReaders()
    orders = {name: getattr(readers, name) for name in ("open", "drain", "answer", "collect", "close")}
    for text in sys.stdin:
        order = json.loads(text)
        print(json.dumps(orders[order.pop("do")](**order)), flush=True)


if __name__ == "__main__":
    main()
