"""Runs the publisher of the comparison: one HTTP connection that is kept alive, and requests that are stamped by patching bytes.

`python -m ops.bench.publisher PROGRESS` takes one JSON order a line. `pace` sends requests at a rate, each when the one before
it is answered and its events have arrived at the readers, whose progress is in the file PROGRESS that both map: nothing
queues, whatever the server. A request's text holds `AT` where the nanosecond it is sent at belongs; it may be several
requests in a row, for servers that take one event a request.
"""

from __future__ import annotations

import json
import mmap
import re
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
AT = "1222222222222222222"
# How long an answer and the readers may take.
TIMEOUT = 20.0
# How often the readers' progress is looked at once the next request is due.
LOOK = 0.0005
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)


def payload(size: int = 100) -> str:
    """An event's data: so many bytes of JSON with the time in it."""
    head, tail = f'{{"at":{AT},"text":"', '"}'
    return head + "x" * (size - len(head) - len(tail)) + tail


def request(port: int, path: str, body: str, kind: str = "application/json", headers: tuple[str, ...] = ()) -> str:
    """One POST, of JSON if nothing else is said."""
    head = (f"POST {path} HTTP/1.1", f"Host: {HOST}:{port}", f"Content-Type: {kind}", *headers)
    return "\r\n".join((*head, f"Content-Length: {len(body)}", "", body))


class PublicationRefused(Exception):
    """a publication was refused"""


class AnswerReader:
    """Takes the answers off a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._have = b""

    def take(self, count: int) -> None:
        """Reads so many answers. Raises PublicationRefused where one is no success, OSError where none comes."""
        while count:
            end = self._have.find(b"\r\n\r\n")
            if end >= 0:
                head = self._have[: end + 2]
                if not re.match(rb"HTTP/1.1 20\d ", head) or b"chunked" in head.lower():
                    raise PublicationRefused(f"a publication was answered with {self._have[:200]!r}")
                length = _LENGTH.search(head)
                whole = end + 4 + (int(length[1]) if length else 0)
                if len(self._have) >= whole:
                    self._have = self._have[whole:]
                    count -= 1
                    continue
            got = self._connection.recv(1 << 16)
            if not got:
                raise PublicationRefused("the server closed the publisher's connection")
            self._have += got


class HttpPublisher:
    """Sends what it is told, and looks at how far the readers are."""

    def __init__(self, progress: Path) -> None:
        with progress.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 8)

    def received(self) -> int:
        (count,) = struct.unpack("<Q", self._progress[:8])
        return int(count)

    def pace(self, port: int, text: str, answers: int, rate: float, count: int) -> dict[str, Any]:
        """Sends a text so often, so many times a second at most; says how often it was a second."""
        parts = text.encode().split(AT.encode())
        events = len(parts) - 1
        with socket.create_connection((HOST, port), TIMEOUT) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = AnswerReader(connection)
            base, began = self.received(), time.monotonic()
            due = began
            for number in range(count):
                time.sleep(max(0.0, due - time.monotonic()))
                if not self._arrived(base + number * events):
                    return {"fault": f"the events of request {number} did not arrive within {TIMEOUT:g} s"}
                due = max(due, time.monotonic() - 1 / rate) + 1 / rate
                connection.sendall(str(time.time_ns()).encode().join(parts))
                try:
                    reader.take(answers)
                except (PublicationRefused, OSError) as fault:
                    return {"fault": str(fault)}
            self._arrived(base + count * events)
        return {"rate": count / (time.monotonic() - began)}

    def _arrived(self, events: int) -> bool:
        until = time.monotonic() + TIMEOUT
        while self.received() < events:
            if time.monotonic() > until:
                return False
            time.sleep(LOOK)
        return True


def main() -> None:
    """Does what the lines of the input say, until they end."""
    publisher = HttpPublisher(Path(sys.argv[1]))
    for text in sys.stdin:
        order = json.loads(text)
        match order.pop("do"):
            case "pace":
                answer = publisher.pace(**order)
            case unknown:
                raise SystemExit(f"unknown order {unknown!r}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
