"""Runs the benchmarks' webhook receivers: one process that answers posts at little cost and checks each.

`python -m ops.bench.receivers PROGRESS` takes one JSON order a line: `ports` asks where it is (`well` answers 204 at any path,
`dead` takes posts and never answers), `begin` forgets what came, `collect` waits until so many came to the one that is well.
How many events have come to all sessions goes into the file PROGRESS, which the producer maps too.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import Any, cast

import uvloop

MOST_AGES = 4000
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH = re.compile(rb"content-length: ?(\d+)", re.IGNORECASE)
_AT = re.compile(rb'"at":(\d+)')
_SIGNED = re.compile(rb"\r\nwebhook-signature: ?v1,", re.IGNORECASE)


class Ledger:
    """What came: how many posts, how many were signed, and how old the event of each was, in nanoseconds."""

    def __init__(self, progress: Path) -> None:
        self.arrived = asyncio.Event()
        with progress.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), 8)
        self.begin()

    def begin(self, sessions: int = 1) -> None:
        self._sessions = sessions
        struct.pack_into("<Q", self._progress, 0, 0)
        self.signed = 0
        self.ages = array("q")
        self.wanted = 0
        self.body = b""

    def take(self, head: bytes, body: bytes) -> None:
        self.body = body
        self.signed += _SIGNED.search(head) is not None
        said = _AT.search(body)
        self.ages.append(time.time_ns() - int(said[1]) if said else 0)
        struct.pack_into("<Q", self._progress, 0, len(self.ages) // self._sessions)
        if len(self.ages) == self.wanted:
            self.arrived.set()

    async def collect(self, posts: int, seconds: float) -> dict[str, Any]:
        """Waits for so many posts in all; says when the last one came, its body, and how old all were, in milliseconds."""
        self.wanted = posts
        self.arrived.clear()
        if len(self.ages) < posts:
            try:
                async with asyncio.timeout(seconds):
                    await self.arrived.wait()
            except TimeoutError:
                raise SystemExit(f"{len(self.ages)} of {posts} posts came within {seconds:g} s") from None
        ended = time.monotonic()
        ages = sorted(age / 1e6 for age in self.ages[:posts])
        return {
            "ended": ended,
            "signed": self.signed,
            "body": self.body.decode(),
            # For who puts several short runs together.
            "ages": [round(age, 2) for age in ages] if posts <= MOST_AGES else [],
            "p50": ages[len(ages) // 2],
            "p99": ages[int(len(ages) * 0.99)],
            "worst": ages[-1],
        }


class Well(asyncio.Protocol):
    """One connection to a receiver that answers at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._have = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own transports are none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._have += data
        while (end := self._have.find(b"\r\n\r\n")) >= 0:
            head = self._have[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._have) < whole:
                return
            self._ledger.take(head, self._have[end + 4 : whole])
            self._have = self._have[whole:]
            self._transport.write(ANSWER)


class Dead(asyncio.Protocol):
    """One connection to a receiver that never answers."""


async def main() -> None:
    """Does what the lines of the input say, until they end."""
    loop = asyncio.get_running_loop()
    ledger = Ledger(Path(sys.argv[1]))
    well = await loop.create_server(lambda: Well(ledger), "127.0.0.1", 0, backlog=1024)
    dead = await loop.create_server(Dead, "127.0.0.1", 0, backlog=1024)
    ports = {name: server.sockets[0].getsockname()[1] for name, server in (("well", well), ("dead", dead))}
    while text := await loop.run_in_executor(None, sys.stdin.readline):
        order: dict[str, Any] = json.loads(text)
        answer: dict[str, Any] = {}
        match order.pop("do"):
            case "ports":
                answer = ports
            case "begin":
                ledger.begin(**order)
            case "collect":
                answer = await ledger.collect(**order)
            case unknown:
                raise SystemExit(f"what is {unknown!r}?")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
