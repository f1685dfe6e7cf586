"""Runs thousands of reading clients that cost less than what they measure.

Most of them only count: the kernel throws their bytes away (MSG_TRUNC) and says how many there were. A few witnesses look
into what they get, and count events. All readers of one session are sent the same bytes, so all have everything once each
has as many bytes as a witness that has every event. `python -m ops.bench.audience PROGRESS` takes one JSON order a line;
how many events a witness has goes into the file PROGRESS, which the producer maps too.
"""

from __future__ import annotations

import json
import mmap
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ops.bench.readers import request

HOST = "127.0.0.1"
LARGE = 1 << 20
MARK = b'"at":1'
STAMP = re.compile(rb'"at":(\d{19})')
READY = b'"session_id"'
WITNESSES = 5
# Between two rounds over many clients: what has come meanwhile is read with one call a client.
PAUSE = 0.003
# Where latency is measured the witnesses are read at once, and the others so often.
OTHERS = 0.005


class AudienceMember:
    """One connection."""

    __slots__ = ("bytes", "events", "greeted", "head", "rest", "socket", "witness")

    def __init__(self, connection: socket.socket, witness: bool) -> None:
        self.socket = connection
        self.witness = witness
        self.bytes = self.events = 0
        self.head: bytes | None = b""
        self.rest = b""
        self.greeted = False


class AudienceGroup:
    """The clients of one session and transport.

    A client is ready once `ready` is in what it was answered. `hello` is what it sends behind the answer's head, such as the
    frames that subscribe it.
    """

    def __init__(self, ready: bytes = READY, hello: bytes = b"", counted: bool = False) -> None:
        self.clients: dict[int, AudienceMember] = {}
        self.latencies: list[int] = []
        self.ready = ready
        self.hello = hello
        self.counted = counted

    @property
    def witness(self) -> AudienceMember:
        """The last one that looks: who is written to last in each tick."""
        return [client for client in self.clients.values() if client.witness][-1]

    def even(self) -> bool:
        """Says whether all have got as much as the witness."""
        if self.counted:
            events = self.witness.events
            return all(client.events == events for client in self.clients.values())
        wanted = self.witness.bytes
        return all(client.bytes == wanted for client in self.clients.values())


class Audience:
    """All groups, and the buffer they share."""

    def __init__(self, progress: Path) -> None:
        self._groups: dict[str, AudienceGroup] = {}
        self._buffer = bytearray(LARGE)
        with progress.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 8)

    # Reading.

    def _read(self, client: AudienceMember, group: AudienceGroup, stamps: bool) -> None:
        try:
            if client.head is not None or client.witness or group.counted:
                got = client.socket.recv_into(self._buffer)
            else:
                got = client.socket.recv_into(self._buffer, LARGE, socket.MSG_TRUNC)
        except BlockingIOError:
            return
        now = time.time_ns()
        if not got:
            raise SystemExit(f"the server closed a connection: {client.head!r}")
        client.bytes += got
        if client.head is not None:
            self._open_up(client, group, client.head + bytes(self._buffer[:got]))
            return
        if not client.witness and not group.counted:
            return
        said = client.rest + bytes(self._buffer[:got])
        if not stamps or not client.witness:
            client.events += said.count(MARK)
            client.rest = said[-len(MARK) + 1 :]
            return
        end = 0
        for found in STAMP.finditer(said):
            group.latencies.append(now - int(found[1]))
            client.events += 1
            end = found.end()
        client.rest = said[max(end, len(said) - 23) :]

    @staticmethod
    def _open_up(client: AudienceMember, group: AudienceGroup, head: bytes) -> None:
        """Takes what came before a client is ready."""
        client.head = head
        if not re.match(rb"HTTP/1.1 (200|101) ", head):
            raise SystemExit(f"refused: {head[:300]!r}")
        if group.hello and not client.greeted and b"\r\n\r\n" in head:
            client.greeted = True
            client.socket.sendall(group.hello)
        if group.ready in head:
            # What came behind the answer's head may hold events already.
            client.events += head.count(MARK)
            client.rest = head[-len(MARK) + 1 :]
            client.head = None

    def _round(self, poll: select.epoll, group: AudienceGroup, seconds: float, stamps: bool = False) -> None:
        for number, _ in poll.poll(seconds):
            self._read(group.clients[number], group, stamps)

    def _tell(self, events: int) -> None:
        struct.pack_into("<Q", self._progress, 0, events)

    @staticmethod
    def _poll(numbers: Iterable[int]) -> select.epoll:
        poll = select.epoll()
        for number in numbers:
            poll.register(number, select.EPOLLIN)
        return poll

    def _settle(self, group: AudienceGroup, quiet: float = 0.2) -> None:
        """Reads until nothing has come for a moment."""
        with self._poll(group.clients) as poll:
            until = time.monotonic() + quiet
            before = -1
            while (left := until - time.monotonic()) > 0:
                self._round(poll, group, left)
                count = sum(client.bytes for client in group.clients.values())
                if count != before:
                    before, until = count, time.monotonic() + quiet

    # What can be asked.

    def open(
        self,
        group: str,
        port: int,
        path: str,
        transport: str,
        count: int,
        at_once: int = 50,
        ready: str = READY.decode(),
        hello: str = "",
        counted: bool = False,
        headers: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Connects clients, so many at once, until each has had its `ready`; then everyone's count begins anew."""
        began = time.monotonic()
        self._groups.setdefault(group, AudienceGroup(ready.encode(), hello.encode("latin-1"), counted))
        known = self._connect(group, port, path, transport, count, at_once, headers)
        self._settle(known)
        for client in known.clients.values():
            client.bytes = client.events = 0
        self._tell(0)
        return {"began": began}

    def storm(
        self, group: str, port: int, path: str, transport: str, count: int, events: int, seconds: float
    ) -> dict[str, Any]:
        """Connects clients all at once, and says when each has had its `ready` and so many events."""
        began = time.monotonic()
        self._connect(group, port, path, transport, count, count)
        return {"began": began, "ready": time.monotonic(), **self.collect(group, events, seconds)}

    def _connect(
        self, name: str, port: int, path: str, transport: str, count: int, at_once: int, headers: Sequence[str] = ()
    ) -> AudienceGroup:
        group = self._groups.setdefault(name, AudienceGroup())
        asked = request(f"{HOST}:{port}", path, transport, headers)
        looking = {count * (2 * place + 1) // (2 * WITNESSES) for place in range(WITNESSES)} | {count - 1}
        for first in range(0, count, at_once):
            fresh: dict[int, AudienceMember] = {}
            with select.epoll() as poll:
                for place in range(first, min(first + at_once, count)):
                    connection = socket.socket()
                    connection.setblocking(False)
                    connection.connect_ex((HOST, port))
                    client = AudienceMember(connection, place in looking)
                    fresh[connection.fileno()] = group.clients[connection.fileno()] = client
                    poll.register(connection.fileno(), select.EPOLLOUT)
                while any(client.head is not None for client in fresh.values()):
                    ready = poll.poll(30)
                    if not ready:
                        raise SystemExit("clients were not answered within 30 s")
                    for number, happened in ready:
                        if happened & select.EPOLLIN:
                            self._read(fresh[number], group, False)
                        elif happened & select.EPOLLOUT and not happened & (select.EPOLLERR | select.EPOLLHUP):
                            fresh[number].socket.sendall(asked)
                            poll.modify(number, select.EPOLLIN)
                        else:
                            raise SystemExit("a connection was refused")
        return group

    def collect(self, group: str, events: int, seconds: float, stamps: bool = False) -> dict[str, Any]:
        """Reads until all clients have so many events; says when, and how long events took where stamps are looked at."""
        known = self._groups[group]
        known.latencies.clear()
        witness = known.witness
        until = time.monotonic() + seconds
        prompt = {number: client for number, client in known.clients.items() if client.witness}
        first = self._poll(prompt if stamps else known.clients)
        others = self._poll([number for number in known.clients if number not in prompt])
        drained = 0.0
        with first, others:
            while witness.events < events or not known.even():
                now = time.monotonic()
                if now > until:
                    have = [client.bytes for client in known.clients.values()]
                    fault = f"{witness.events} of {events} events, {min(have)} to {max(have)} bytes after {seconds:g} s"
                    return {"fault": fault}
                self._round(first, known, 0.005, stamps)
                if stamps and now - drained > OTHERS:
                    self._round(others, known, 0)
                    drained = now
                self._tell(witness.events)
                if not stamps and len(known.clients) > 10:
                    time.sleep(PAUSE)
        if witness.events != events:
            return {"fault": f"{witness.events} events, and there were only {events}"}
        return {"ended": time.monotonic(), **self._spread(known.latencies)}

    @staticmethod
    def _spread(latencies: list[int]) -> dict[str, float]:
        if not latencies:
            return {}
        found = sorted(latencies)
        at = {name: found[min(len(found) - 1, int(len(found) * share))] for name, share in SHARES.items()}
        return {"samples": len(found), **{name: value / 1e6 for name, value in at.items()}}

    def begin(self, group: str) -> dict[str, Any]:
        """Everyone's count begins anew."""
        for client in self._groups[group].clients.values():
            client.bytes = client.events = 0
        self._tell(0)
        return {}

    def close(self, group: str) -> dict[str, Any]:
        """Lets a group go."""
        for client in self._groups.pop(group).clients.values():
            client.socket.close()
        return {}


SHARES = {"p50": 0.5, "p99": 0.99, "worst": 1.0}


def main() -> None:
    """Does what the lines of the input say, until they end."""
    audience = Audience(Path(sys.argv[1]))
    orders = {name: getattr(audience, name) for name in ("open", "storm", "collect", "begin", "close")}
    for text in sys.stdin:
        order = json.loads(text)
        print(json.dumps(orders[order.pop("do")](**order)), flush=True)


if __name__ == "__main__":
    main()
