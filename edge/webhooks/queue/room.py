"""Accounts for what each webhook session holds in HOOKS, and says whether it may hold more.

HOOKS is shared by all sessions. Each may hold so many messages and bytes, and no more than an eighth of what is free at the
time, so that its share shrinks while the stream fills and some of it always stays free for the others.

JetStream counts the messages under a subject and not their bytes. What was stored is known here, the oldest leaves first,
and how many are left is asked for at intervals: that gives the bytes. Of what a predecessor stored, the mean is assumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge.webhooks.queue.job import FRESH, PARKED
from edge.webhooks.queue.ordering import ALL
from router.broker import Broker
from router.errors import BrokerError
from router.topology import HOOKS

log = logging.getLogger(__name__)

# One session holds at most an eighth of what is free: one of them leaves an eighth-ninths of HOOKS to others, ten leave
# 44 %, a hundred 7 %.
PART = 8
# New jobs stay below this share of HOOKS; the rest is for jobs that are parked, which are in it twice for a moment, and for
# deliveries that people ask for.
CEILING = 0.9
# A session that was refused more jobs goes on when it holds no more than this share of its quota.
AGAIN = 0.875
# What a message takes in HOOKS beside the event: its subject, its headers, and the server's own record of it.
OVERHEAD = 320
# Jobs of one key that are remembered beyond those that are parked: they may be on their way.
ON_THE_WAY = 16
# Sizes that are remembered as one; at the oldest end they are taken to be equal.
RUN = 16


@dataclass(frozen=True)
class RoomSettings:
    """How often HOOKS is measured. Times in seconds."""

    # While a session waits for room, or has used more than half of its quota.
    every: float = 0.25
    # While any session holds jobs.
    seldom: float = 2.0
    # While none does.
    unused: float = 15.0
    # A measurement that takes long, because there are very many subjects, is made less often: this is its share of the time.
    share: float = 0.05


class Sizes:
    """The sizes of messages in the order in which they were stored; the oldest leave first."""

    __slots__ = ("_runs", "bytes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self._runs: deque[list[int]] = deque()

    def add(self, size: int) -> None:
        runs = self._runs
        if runs and runs[-1][0] < RUN:
            runs[-1][0] += 1
            runs[-1][1] += size
        else:
            runs.append([1, size])
        self.count += 1
        self.bytes += size

    def keep(self, count: int, mean: int = 0) -> None:
        """Forgets all but the newest `count`; where fewer are known and a `mean` is given, the others are taken to be so large."""
        if count > self.count and mean:
            missing = count - self.count
            self._runs.appendleft([missing, missing * mean])
            self.count, self.bytes = count, self.bytes + missing * mean
        while self.count > count:
            oldest = self._runs[0]
            surplus = self.count - count
            if oldest[0] <= surplus:
                self._runs.popleft()
                self.count -= oldest[0]
                self.bytes -= oldest[1]
            else:
                size = oldest[1] * surplus // oldest[0]
                oldest[0] -= surplus
                oldest[1] -= size
                self.count -= surplus
                self.bytes -= size


class Account:
    """What one session holds: its new jobs and the backlog of all (`line`), and the backlogs of single keys."""

    __slots__ = ("keys", "line", "on_the_way", "parked", "parked_bytes", "taken", "touched")

    def __init__(self) -> None:
        self.line = Sizes()
        # Of a keyed session: the newest sizes of each key, to know how large what is parked of it is.
        self.keys: dict[str, Sizes] = {}
        self.touched: set[str] = set()
        self.parked = 0
        self.parked_bytes = 0
        # Jobs in all, and those that are not known to be stored: to tell which a measurement may not have seen.
        self.taken = 0
        self.on_the_way = 0

    @property
    def jobs(self) -> int:
        return self.line.count + self.parked

    @property
    def bytes(self) -> int:
        return self.line.bytes + self.parked_bytes

    def add(self, size: int, queue: str) -> None:
        self.line.add(size)
        self.taken += 1
        self.on_the_way += 1
        if queue != ALL:
            if (sizes := self.keys.get(queue)) is None:
                sizes = self.keys[queue] = Sizes()
            sizes.add(size)
            self.touched.add(queue)

    def measured(self, waiting: int, parked: dict[str, int], since: int, mean: int) -> None:
        """Takes in how many jobs are left: new ones with the backlog of all, and the backlogs of keys.

        Of those that were taken `since` were not known to be stored when it was asked, and count besides.
        """
        self.line.keep(waiting + since, mean)
        self.parked = self.parked_bytes = 0
        for queue in [queue for queue in self.keys if queue not in parked and queue not in self.touched]:
            del self.keys[queue]
        self.touched.clear()
        for queue, count in parked.items():
            if (sizes := self.keys.get(queue)) is None:
                sizes = self.keys[queue] = Sizes()
            sizes.keep(count, mean)
            self.parked += count
            self.parked_bytes += sizes.bytes
            sizes.keep(count + ON_THE_WAY)


class Room:
    """The quota of HOOKS: what each session holds of it, and whether it may hold more."""

    def __init__(self, broker: Broker, settings: RoomSettings | None = None) -> None:
        self.settings = settings or RoomSettings()
        self._broker = broker
        self._accounts: dict[str, Account] = {}
        self._most_jobs = broker.topology.hooks_per_session
        self._free = math.inf
        self._measured = float("-inf")
        self._took = 0.0
        self._used = asyncio.Event()
        # The stream's bytes and their limit, as of the last measurement; a limit of 0 means none.
        self.bytes = 0
        self.limit = 0

    # Asking

    @property
    def most_bytes(self) -> float:
        """The bytes that one session may hold now; where it holds none it may have one job nevertheless."""
        return max(0.0, min(self._broker.topology.hooks_bytes_per_session or math.inf, self._free / PART))

    def held(self, session: str) -> tuple[int, int]:
        """The jobs and bytes that a session holds."""
        account = self._accounts.get(session)
        return (account.jobs, account.bytes) if account is not None else (0, 0)

    def take(self, session: str, size: int, queue: str = ALL) -> bool:
        """Says whether a session may hold one more job with an event of `size` bytes; if so, it is accounted for.

        Until it is `settled` it counts beside what is measured.
        """
        account = self._accounts.get(session)
        size += OVERHEAD
        if account is None:
            account = self._accounts[session] = Account()
            self._used.set()
        elif account.jobs and (account.jobs >= self._most_jobs or account.bytes + size > self.most_bytes):
            return False
        account.add(size, queue)
        self._free -= size
        return True

    def settled(self, session: str, jobs: int = 1) -> None:
        """Notes that jobs which were taken are stored, or were not: the next measurements count them."""
        if (account := self._accounts.get(session)) is not None:
            account.on_the_way = max(0, account.on_the_way - jobs)

    async def taken(self, session: str, size: int) -> bool:
        """As `take`, for rare calls: measures before, where the last measurement is old."""
        if self.due_in(True) <= 0:
            await self.measure_or_not()
        return self.take(session, size)

    def is_roomy(self, session: str) -> bool:
        """Whether a session that was refused may go on: not for every single job that it has worked off."""
        jobs, size = self.held(session)
        return not jobs or (jobs <= self._most_jobs * AGAIN and size <= self.most_bytes * AGAIN)

    def shares(self) -> Iterator[float]:
        """The share of its quota that each session holds, 1 for all of it; of those that hold any."""
        most = max(1.0, self.most_bytes)
        for account in self._accounts.values():
            if account.jobs:
                yield max(account.jobs / self._most_jobs, account.bytes / most)

    # Knowing

    def forget(self, session: str) -> None:
        self._accounts.pop(session, None)

    def clear(self) -> None:
        """Forgets all, before another ownership of the fan-out."""
        self._accounts.clear()
        self._free = math.inf
        self._measured = float("-inf")

    def due_in(self, wanted: bool) -> float:
        """The seconds until the next measurement; `wanted` says that a session waits for room."""
        settings = self.settings
        wanted = wanted or any(share > 0.5 for share in self.shares())
        every = settings.every if wanted else settings.seldom if self._accounts else settings.unused
        return self._measured + max(every, self._took / settings.share) - time.monotonic()

    async def wait(self, seconds: float) -> None:
        """Waits until a measurement may be due, at most so long: where no session holds anything, until one does."""
        if self._accounts:
            await asyncio.sleep(min(seconds, self.settings.every))
            return
        self._used.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._used.wait()

    async def measure(self) -> None:
        """Reads how much of HOOKS each session uses. Raises BrokerError."""
        begun = time.monotonic()
        known = {session: account.taken - account.on_the_way for session, account in self._accounts.items()}
        info, subjects = await self._ask()
        state, config = info["state"], info["config"]
        self.bytes, self.limit = state["bytes"], max(0, config.get("max_bytes", 0))
        if (most := config.get("max_msgs_per_subject", 0)) > 0:
            self._most_jobs = most
        waiting: dict[str, int] = {}
        parked: dict[str, dict[str, int]] = {}
        for subject, count in subjects.items():
            tokens = subject.split(".")
            if subject.startswith(FRESH + ".") or tokens[-1] == ALL:
                waiting[tokens[3]] = waiting.get(tokens[3], 0) + count
            elif subject.startswith(PARKED + "."):
                parked.setdefault(tokens[3], {})[tokens[4]] = count
        mean = self.bytes // max(1, state["messages"])
        meanwhile = 0
        for session in {*self._accounts, *waiting, *parked}:
            account = self._accounts.get(session)
            if account is None:
                account = self._accounts[session] = Account()
            since = account.taken - known.get(session, 0)
            account.measured(waiting.get(session, 0), parked.get(session, {}), since, mean)
            if not account.jobs and not account.touched:
                del self._accounts[session]
            elif since:
                meanwhile += account.line.bytes * since // max(1, account.line.count)
        self._free = (self.limit * CEILING - self.bytes if self.limit else math.inf) - meanwhile
        self._measured = time.monotonic()
        self._took = self._measured - begun

    async def _ask(self) -> tuple[dict[str, Any], dict[str, int]]:
        listing = await self._broker.stream(HOOKS).subjects("hook.>")
        return listing.info, listing.subjects

    async def measure_or_not(self) -> None:
        """Measures; where the stream does not answer, what was known before still counts."""
        try:
            await self.measure()
        except BrokerError as fault:
            self._measured = time.monotonic()
            log.debug("HOOKS cannot be measured; it will be measured again", extra={"fault": str(fault)})
