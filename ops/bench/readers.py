"""Runs hundreds of reading clients at little cost: one process, bytes counted in the kernel and nothing parsed.

`python -m ops.bench.readers` takes lines: `open NAME HOST PORT PATHS websocket|sse COUNT` connects so many clients to each of
the paths (joined by commas) and answers when all have had their first bytes; `count NAME` answers with the bytes of that
group so far; `wait NAME BYTES SECONDS` answers with the bytes once there are as many, or when the time is over.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
import time
from collections.abc import Sequence

BUFFER = 1 << 18
# Between two rounds: what has come meanwhile is read with one call a client.
PAUSE = 0.002
# So many are connected before the first is waited for.
AT_ONCE = 50


class ReaderGroup:
    """The clients of one server and transport."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes = 0
        self.sockets: list[socket.socket] = []
        self._nowhere = bytearray(BUFFER)

    def read(self) -> None:
        """Takes what has come for each client; the kernel throws the bytes away and says how many there were."""
        buffer = self._nowhere
        for client in self.sockets:
            try:
                self.bytes += client.recv_into(buffer, BUFFER, socket.MSG_TRUNC)
            except BlockingIOError:
                continue


def request(host: str, path: str, transport: str, headers: Sequence[str] = ()) -> bytes:
    """The bytes that open a WebSocket or a stream."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers]
    if transport == "websocket":
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    else:
        lines += ["Accept: text/event-stream"]
    return "\r\n".join([*lines, "", ""]).encode()


class Readers:
    """All groups. Nobody waits on a socket: to wake who sleeps on one costs the writer a tenth of what it is to write."""

    def __init__(self) -> None:
        self._groups: dict[str, ReaderGroup] = {}

    def open(self, name: str, host: str, port: int, paths: Sequence[str], transport: str, count: int) -> None:
        """Connects so many clients to each path, a few at a time, and waits until each has been answered."""
        group = self._groups[name] = ReaderGroup(name)
        asked = [path for path in paths for _ in range(count)]
        for first in range(0, len(asked), AT_ONCE):
            some = asked[first : first + AT_ONCE]
            for path in some:
                client = socket.create_connection((host, port))
                client.sendall(request(f"{host}:{port}", path, transport))
                group.sockets.append(client)
            for opened in group.sockets[-len(some) :]:
                group.bytes += len(opened.recv(BUFFER))
                opened.setblocking(False)
        self.settle(group)

    def settle(self, group: ReaderGroup, quiet: float = 0.3) -> None:
        """Reads until nothing has come for a moment."""
        before = -1
        while before != group.bytes:
            before = group.bytes
            time.sleep(quiet)
            group.read()

    def wait(self, group: ReaderGroup, wanted: int, seconds: float) -> None:
        """Reads until so many bytes have come, or the time is over."""
        until = time.monotonic() + seconds
        while group.bytes < wanted and time.monotonic() < until:
            time.sleep(PAUSE)
            group.read()

    def run(self) -> None:
        """Does what the lines of the input say, until they end."""
        for line in sys.stdin:
            match line.split():
                case ["open", name, host, port, paths, transport, count]:
                    self.open(name, host, int(port), paths.split(","), transport, int(count))
                case ["count", name]:
                    self.settle(self._groups[name])
                case ["wait", name, wanted, seconds]:
                    self.wait(self._groups[name], int(wanted), float(seconds))
                case ["close", name]:
                    for client in self._groups[name].sockets:
                        client.close()
                case _:
                    raise SystemExit(f"what is {line!r}?")
            print(self._groups[name].bytes, flush=True)


if __name__ == "__main__":
    Readers().run()
