"""Measures what an event costs nats-server: to store it, and each copy of it to a subscriber, as every edge that has readers is.

Subscribers are raw sockets in one process that lets the kernel throw their bytes away. `python -m ops.bench.copies NATS_URL`
is that process: it takes how many there are to be, one number a line, and answers with the number once they are subscribed.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from ops.bench.fanout import CountingProcess
from ops.bench.report import ReportRow, number
from ops.bench.stand import RUNS, Plan, cpu_seconds, process, stand
from ops.launch import own_argv
from router.subject import LIVE

SUBSCRIBERS = (0, 10, 50)
SUBJECT = "job.bench-copies.said"
EVENTS_A_SECOND = 2_000
BUFFER = 1 << 20


class Subscribers:
    """Connections that are sent every live event of the benchmark."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._where = (where.hostname or "127.0.0.1", where.port or 4222)
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self.bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._discard, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Lets all of them go."""
        self._closed = True
        self._thread.join()
        self._poll.close()
        for each in self._sockets.values():
            each.close()

    def grow(self, count: int) -> None:
        """Subscribes until there are so many."""
        while len(self._sockets) < count:
            connection = socket.create_connection(self._where)
            options = json.dumps({"verbose": False, "headers": True, "name": "bench", "lang": "raw"})
            connection.sendall(f"CONNECT {options}\r\nSUB {LIVE}{SUBJECT} 1\r\nPING\r\n".encode())
            said = b""
            while b"PONG\r\n" not in said:
                said += connection.recv(BUFFER)
            connection.setblocking(False)
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection.fileno(), select.EPOLLIN)

    def _discard(self) -> None:
        nowhere = bytearray(BUFFER)
        while not self._closed:
            for file, _ in self._poll.poll(0.1):
                self.bytes += self._sockets[file].recv_into(nowhere, BUFFER, socket.MSG_TRUNC)


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures with more and more subscribers; what each of them adds is the cost of a copy."""
    costs: dict[int, list[float]] = {}
    async with stand() as place, process(*own_argv(place.nats_url, module="ops.bench.copies"), piped=True) as child:
        subscribers = CountingProcess(child)
        count = max(1000, int(plan.seconds * EVENTS_A_SECOND))
        await place.producer.ask("burst", subject=SUBJECT, count=count, follow=False)
        for copies in SUBSCRIBERS:
            await subscribers.ask(str(copies))
            for _ in range(RUNS):
                before = cpu_seconds(place.nats_pid)
                await place.producer.ask("burst", subject=SUBJECT, count=count, follow=False)
                costs.setdefault(copies, []).append((cpu_seconds(place.nats_pid) - before) / count * 1e6)
    for copies, runs in costs.items():
        each = [(cost - least) / copies for cost, least in zip(runs, costs[0], strict=True)] if copies else []
        note = f"{number(sorted(each)[len(each) // 2])} µs a copy" if each else ""
        yield ReportRow(
            "copies", f"nats-server, an event stored and sent to {copies} subscribers", "µs", runs, note=note
        )


def main() -> None:
    """Does what the lines of the input say, until they end."""
    subscribers = Subscribers(sys.argv[1])
    for line in sys.stdin:
        subscribers.grow(int(line))
        print(int(line), flush=True)


if __name__ == "__main__":
    main()
