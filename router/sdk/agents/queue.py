"""Keeps the starts that wait for a thread: in a key of LEASES for each, in order and bounded, begun by whichever process is first.

Every process that serves the agent watches the keys. The one that takes the thread for the first of a line begins it, so that a line
outlives the owner of its thread and the process that was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

import msgspec

from router.broker import Broker
from router.codec import to_json
from router.errors import BrokerError, Conflict, RouterError, RunBusy, RunSuperseded
from router.nats.bucket import Bucket, Entry
from router.sdk.agents.order import StartOrder
from router.sdk.agents.threads import ThreadOwners
from router.stored import decoder
from router.subject import escape
from router.topology import LEASES

log = logging.getLogger(__name__)

# An hour: longer than anybody waits for an answer to begin.
KEPT_SECONDS = 3600.0
# A minute for a line in which nobody waits: watchers that were away are told so.
EMPTY_SECONDS = 60.0
# 64 KiB of all inputs of a line: it is read and written as a whole.
MAX_LINE = 64 * 1024
# Between two tries to begin the first of a line, in seconds; the end of a run is told by nobody.
MIN_PAUSE, MAX_PAUSE = 0.1, 0.4
_TRIES = 20


class QueueFull(RouterError):
    """as many starts wait for the thread as may"""


class _Line(msgspec.Struct):
    """The starts that wait for one thread, oldest first."""

    waiting: list[StartOrder]


_line = decoder(_Line, LEASES)


class StartQueue:
    """The lines of one agent; `most` is how long each may be."""

    def __init__(self, agent: str, most: int, broker: Broker, owners: ThreadOwners, ttl: float) -> None:
        self._agent = agent
        self._most = most
        self._owners = owners
        self._ttl = ttl
        self._bucket = Bucket(broker.connection, LEASES)
        self._lines: dict[str, list[StartOrder]] = {}
        self._changed = asyncio.Event()

    # For who is asked to begin a run. All raise BrokerError.

    async def waits(self, order: StartOrder) -> bool:
        """Whether others wait for the thread: a start goes behind them, also where it is free just now."""
        line, _ = await self._read(self._key(order))
        return any(each.incarnation != order.incarnation for each in line)

    async def join(self, order: StartOrder) -> int:
        """Puts a start at the end of the line, once; returns its place, from 1. Raises QueueFull."""

        def joined(line: list[StartOrder]) -> list[StartOrder]:
            if any(each.incarnation == order.incarnation for each in line):
                return line
            if len(line) >= self._most:
                raise QueueFull(f"a run of {order.run[:60]!r} goes on, and {len(line)} more wait")
            if len(to_json(_Line([*line, order]))) > MAX_LINE:
                raise QueueFull(f"a run of {order.run[:60]!r} goes on, and the input is too large to wait")
            return [*line, order]

        line = await self._change(self._key(order), joined)
        return 1 + next(place for place, each in enumerate(line) if each.incarnation == order.incarnation)

    # For who begins them

    async def watch(self) -> None:
        """Follows the lines until cancelled."""
        await self._bucket.watch(self._heard, f"turns.{self._agent}.>")

    async def keep(self, room: Callable[[], bool], begin: Callable[[StartOrder], None]) -> None:
        """Begins the first of each line whose thread is free, until cancelled; `begin` is given one whose thread was taken."""
        while True:
            self._changed.clear()
            for line in list(self._lines.values()):
                if room():
                    with contextlib.suppress(BrokerError):
                        await self._try(line[0], begin)
            async with contextlib.AsyncExitStack() as stack:
                if self._lines:
                    stack.enter_context(contextlib.suppress(TimeoutError))
                    await stack.enter_async_context(asyncio.timeout(random.uniform(MIN_PAUSE, MAX_PAUSE)))
                await self._changed.wait()

    async def _try(self, first: StartOrder, begin: Callable[[StartOrder], None]) -> None:
        token = escape(first.run)
        try:
            await self._owners.take(first.domain, token, first.incarnation, self._ttl, self._agent, patient=False)
            begin(first)
        except RunBusy:
            return
        except RunSuperseded:
            log.debug("start in a line was begun before", extra={"run": first.run})
        await self._change(
            self._key(first), lambda line: [each for each in line if each.incarnation != first.incarnation]
        )

    def _heard(self, entry: Entry, _ready: bool) -> None:
        line = _line(entry.key, entry.value) if entry.value is not None else None
        if line is not None and line.waiting:
            self._lines[entry.key] = line.waiting
            self._changed.set()
        else:
            self._lines.pop(entry.key, None)

    # The keys

    def _key(self, order: StartOrder) -> str:
        return f"turns.{self._agent}.{order.domain}.{escape(order.run)}"

    async def _read(self, key: str) -> tuple[list[StartOrder], int]:
        entry = await self._bucket.latest(key)
        if entry is None:
            return [], 0
        line = _line(key, entry.value) if entry.value is not None else None
        return (line.waiting if line is not None else []), entry.revision

    async def _change(self, key: str, apply: Callable[[list[StartOrder]], list[StartOrder]]) -> list[StartOrder]:
        for _ in range(_TRIES):
            line, revision = await self._read(key)
            wanted = apply(line)
            if wanted == line:
                return line
            try:
                ttl = KEPT_SECONDS if wanted else EMPTY_SECONDS
                revision = await self._bucket.update(key, to_json(_Line(wanted)), revision, ttl)
            except Conflict:
                await asyncio.sleep(random.uniform(0, MIN_PAUSE))
                continue
            self._heard(Entry(key, to_json(_Line(wanted)), revision), True)
            return wanted
        raise RunBusy(None)
