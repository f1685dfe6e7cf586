"""Queues the jobs of one endpoint: one queue for all, or one for each key, in memory and behind that in its backlog.

A queue has the jobs in hand (`waiting`), and behind them those that are parked in its backlog. A new job joins the waiting ones
only where none is parked, so that none overtakes another. A serial queue has one post under way at a time, and a failed one is
tried again before the next.

Of a serial queue at most one post that is not parked comes before parked ones: the one that is being tried. A successor relies
on that: it finds this one among the new jobs, and the others in the backlog.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from edge.webhooks.queue.job import Job
from edge.webhooks.queue.post import PendingJob
from router.codec import DECODE_FAULTS

ALL = "all"


@dataclass(frozen=True)
class QueueSettings:
    """How much of a partition one endpoint may hold."""

    # Jobs in hand that wait for a place; further ones are parked. An endpoint that takes `quick` within a second may have so
    # many: waiting behind them takes less time than parking does. While a partition is nearly full, only `pressed`.
    waiting: int = 64
    quick: int = 256
    pressed: int = 4
    # The jobs of a serial queue that has to wait longer than this, in seconds, wait in its backlog.
    hold: float = 0.5


class OrderedQueue:
    """One queue of an endpoint's jobs."""

    __slots__ = (
        "after",
        "behind",
        "early",
        "first",
        "head",
        "name",
        "not_before",
        "parking",
        "serial",
        "suspects",
        "under_way",
        "waiting",
    )

    def __init__(self, name: str, serial: bool, behind: int = 0) -> None:
        self.name = name
        self.serial = serial
        self.waiting: deque[PendingJob] = deque()
        # On their way into the backlog, in order.
        self.parking: deque[PendingJob] = deque()
        # Jobs in the backlog that are not in hand, those on their way included; and up to where it has been fetched.
        self.behind = behind
        self.after = 0
        self.under_way = 0
        self.head: Head | None = None
        self.not_before = 0.0
        # Where a predecessor has left a backlog: the order of its first job (0: not looked up yet), which new jobs may come
        # before; None once that job has been fetched. Jobs that arrive before it was looked up wait in `early`.
        self.first: int | None = None
        self.early: list[PendingJob] = []
        # Whether a predecessor may have died while it worked on the jobs that are fetched first.
        self.suspects = False

    @property
    def halted(self) -> bool:
        """Whether nothing is posted until somebody enables the endpoint."""
        return self.head is not None and self.head.halted

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.waiting or self.early or self.parking or self.behind or self.under_way or self.head)

    def may_begin(self, now: float) -> bool:
        """Whether the next post may begin, as far as the queue goes."""
        if not self.waiting or self.halted or (self.serial and self.under_way):
            return False
        return now >= self.not_before

    def put_back(self, pending: list[PendingJob]) -> None:
        """Puts jobs in front again, in their order."""
        self.waiting.extendleft(reversed(pending))

    def park_waiting(self) -> list[PendingJob]:
        """Parks the waiting jobs: those that came from the backlog are still there, the others go there, in order.

        Returns those that must stay in hand, because they come before what is in the backlog of a serial queue.
        """
        waiting, self.waiting = self.waiting, deque()
        parked_behind = self.serial and self.behind > 0
        leaving: deque[PendingJob] = deque()
        for pending in reversed(waiting):
            if pending.parked_at:
                parked_behind = self.serial
            elif parked_behind:
                self.waiting.appendleft(pending)
            else:
                leaving.appendleft(pending)
        self.unfetch(pending for pending in waiting if pending.parked_at)
        self.park(leaving)
        return list(self.waiting)

    def unfetch(self, fetched: Iterable[PendingJob]) -> None:
        """Lets jobs be fetched again."""
        for pending in fetched:
            self.behind += 1
            self.after = min(self.after, pending.parked_at - 1)

    def park(self, fresh: Iterable[PendingJob]) -> None:
        """Sends new jobs to the backlog."""
        for pending in fresh:
            self.parking.append(pending)
            self.behind += 1

    @property
    def rest(self) -> list[Piece]:
        """The pieces of a split batch that follow the first."""
        return self.head.rest if self.head is not None else []

    @property
    def stored(self) -> int:
        """Jobs that can be fetched."""
        return self.behind - len(self.parking)


class _Keyed(msgspec.Struct, gc=False):
    """An event as far as its key goes."""

    key: str | None = None


_keyed = msgspec.msgpack.Decoder(_Keyed).decode


def queue_of(job: Job, mode: str) -> tuple[str, bool]:
    """The name of a job's queue, and whether it is serial. The key is the event's own, else its subject."""
    if mode != "keyed" or job.parts:
        return ALL, mode == "fifo"
    try:
        key = _keyed(job.payload).key
    except DECODE_FAULTS:
        key = None
    text = (key or job.subject).encode(errors="replace")
    # 64 bits: hardly any two keys share a queue.
    return f"k{hashlib.blake2b(text, digest_size=8).hexdigest()}", True


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """One part of a batch that was split, whose turn is still to come."""

    id: str
    jobs: int
    attempt: int
    tried: int = 0
    last_status: int = 0


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the first post of a serial queue has come: its delivery (or batch), the jobs in it, what follows."""

    id: str
    jobs: int = 1
    attempt: int = 1
    # Seconds since the epoch; where it is halted, somebody has to say so first.
    not_before: float = 0.0
    halted: bool = False
    last_status: int = 0
    # When it was halted, in seconds since the epoch.
    since: float = 0.0
    # Of a piece of a batch that was split: the attempts of the batch, and the pieces after this one.
    tried: int = 0
    rest: list[Piece] = []

    def resumed(self) -> Head:
        """The same, to be tried again from the beginning."""
        return replace(self, attempt=1, not_before=0.0, halted=False, tried=0)
