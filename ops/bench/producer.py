"""Runs the benchmarks' one producer: a raw socket to NATS that costs little beside the work that it causes.

Events are packed once and stamped by patching bytes: id, time, and `data.at`, the nanosecond they were sent. `python -m
ops.bench.producer NATS_URL PROGRESS` takes one JSON order a line. `burst` publishes as fast as JetStream acknowledges and
the readers, whose progress is in a file that both map, follow; `pace` keeps a rate whatever the readers do.
"""

from __future__ import annotations

import itertools
import json
import mmap
import secrets
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.codec import encode
from router.event import Event
from router.subject import STORED

# So many may be stored and not yet acknowledged, and sent and not yet received: enough that nobody idles, and less than
# what a reader's buffers hold, so that it is delivery that is measured and not replay.
UNACKNOWLEDGED = 1000
UNRECEIVED = 1000
BATCH = 100
# 1 ms: how exactly a rate is kept.
TICK = 0.001
TIMEOUT = 60.0

_ID = "I" * 36
_TIME, _AT = 0x1111111111111111, 0x1222222222222222


def data(size: int = 100) -> dict[str, Any]:
    """Data that is `size` bytes of JSON once `at` is a time."""
    return {
        "at": _AT,
        "text": "x" * (size - len(json.dumps({"at": time.time_ns(), "text": ""}, separators=(",", ":")))),
    }


class EventTemplate:
    """An event of one subject as the bytes of its NATS message, but for id and times; `prefix` says where it is stored."""

    def __init__(self, subject: str, inbox: str, prefix: str = STORED) -> None:
        event = Event.new(subject, data(), source="bench", id=_ID, time_ns=_TIME)
        payload = encode(event)
        headers = f"NATS/1.0\r\nNats-Msg-Id: {_ID}\r\n\r\n".encode()
        head = f"HPUB {prefix}{subject} {inbox} {len(headers)} {len(headers) + len(payload)}\r\n".encode()
        whole = head + headers + payload + b"\r\n"
        first, second, rest = whole.split(_ID.encode())
        before, rest = rest.split(struct.pack(">Q", _TIME))
        between, after = rest.split(struct.pack(">Q", _AT))
        self._parts = (first, second, before, between, after)
        self._stem = secrets.token_hex(8)
        self._made = 0

    def make(self, count: int) -> bytes:
        """The bytes of so many events that are said now."""
        first, second, before, between, after = self._parts
        stamp = struct.pack(">Q", time.time_ns())
        tail = b"".join((before, stamp, between, stamp, after))
        parts: list[bytes] = []
        for number in range(self._made, self._made + count):
            id = f"{self._stem}{number:020x}".encode()
            parts += (first, id, second, id, tail)
        self._made += count
        return b"".join(parts)


class TemplateRing:
    """Events of several subjects in turn."""

    def __init__(self, templates: Iterable[EventTemplate]) -> None:
        self._turn = itertools.cycle(templates)

    def make(self, count: int) -> bytes:
        """As `EventTemplate.make`."""
        return b"".join(template.make(1) for template in itertools.islice(self._turn, count))


class Producer:
    """The socket, and how far the acknowledgements and the readers have come."""

    def __init__(self, url: str, progress: Path) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._templates: dict[str, EventTemplate] = {}
        self._acknowledged = 0
        self._rest = b""
        with progress.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 8)
        options = {"verbose": False, "headers": True, "no_responders": False, "name": "bench", "lang": "raw"}
        self._socket.sendall(f"CONNECT {json.dumps(options)}\r\nSUB {self._inbox} 1\r\nPING\r\n".encode())

    def template(self, subject: str, prefix: str = STORED) -> EventTemplate:
        return self._templates.setdefault(prefix + subject, EventTemplate(subject, self._inbox, prefix))

    def _ring(self, subjects: Mapping[str, str]) -> TemplateRing:
        return TemplateRing([self.template(subject, prefix) for subject, prefix in subjects.items()])

    def listen(self, seconds: float) -> None:
        """Waits so long for what the server has to say, and counts the acknowledgements in it."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        heard = self._socket.recv(1 << 18)
        if not heard or b"-ERR" in heard or b'"error"' in heard:
            raise SystemExit(f"NATS refuses: {heard[:300]!r}")
        said = self._rest + heard
        if b"PING\r\n" in said:
            self._socket.sendall(b"PONG\r\n")
        self._acknowledged += said.count(b'"seq":')
        # What may be the beginning of either.
        self._rest = said[-5:] if said[-6:] != b"PING\r\n" else b""

    def received(self) -> int:
        (count,) = struct.unpack("<Q", self._progress[:8])
        return int(count)

    def burst(
        self, subject: str | Mapping[str, str], count: int, follow: bool, most: int = UNRECEIVED
    ) -> dict[str, float]:
        """Publishes so many, each acknowledged; at most so many ahead of the readers, where it is to follow them.

        Several subjects come with the prefix under which the events of each are stored.
        """
        template = self.template(subject) if isinstance(subject, str) else self._ring(subject)
        sent = 0
        self._acknowledged = 0
        base, began = self.received(), time.monotonic()
        while self._acknowledged < count:
            room = min(count - sent, BATCH, most // 2)
            ahead = sent - (self.received() - base) if follow else 0
            if room and sent - self._acknowledged + room <= UNACKNOWLEDGED and ahead + room <= most:
                self._socket.sendall(template.make(room))
                sent += room
                self.listen(0)
            else:
                self.listen(0.0005)
            if time.monotonic() - began > TIMEOUT:
                raise SystemExit(f"{self._acknowledged} of {count} acknowledged within {TIMEOUT:g} s")
        return {"began": began, "ended": time.monotonic()}

    def pace(self, subject: str, rate: float, count: int) -> dict[str, float]:
        """Publishes at a rate, whatever becomes of it; says how late the latest was sent.

        What is due is sent every millisecond: a producer that woke for each would take a third of a core from those that
        are measured.
        """
        template, sent, late = self.template(subject), 0, 0.0
        self._acknowledged = 0
        next_look = 0.0
        began = time.monotonic()
        while sent < count:
            now = time.monotonic() - began
            due = min(int(now * rate) + 1, count)
            if due > sent and now >= next_look:
                late = max(late, now - sent / rate)
                self._socket.sendall(template.make(due - sent))
                sent = due
                self.listen(0)
                next_look = now + TICK
            else:
                time.sleep(max(0.0, sent / rate - now, next_look - now))
        ended = time.monotonic()
        while self._acknowledged < count and time.monotonic() - ended < TIMEOUT:
            self.listen(0.01)
        return {"began": began, "ended": ended, "late": late}


def main() -> None:
    """Does what the lines of the input say, until they end."""
    producer = Producer(sys.argv[1], Path(sys.argv[2]))
    for text in sys.stdin:
        order = json.loads(text)
        match order.pop("do"):
            case "burst":
                answer = producer.burst(**order)
            case "pace":
                answer = producer.pace(**order)
            case unknown:
                raise SystemExit(f"what is {unknown!r}?")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
