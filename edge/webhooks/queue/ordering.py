"""This file is where the jobs of one endpoint stand in line: one line for all, or one for each key, here and in its log.

A queue is what is in hand (`waiting`), and behind it what is parked. What is new joins the waiting ones only where nothing is parked,
so that nothing overtakes. In a serial queue one post is under way at a time, and a failed one is tried again in its place.

Of a serial queue at most one post that is not parked stands before parked ones: the one that is being tried. That is what a
successor relies on, who finds it first among the new jobs and the others in the log.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edge.webhooks.queue.job import Job
from router.codec import DECODE_FAULTS

if TYPE_CHECKING:
    from router.nats.consumer import Consumer, Message

ALL = "all"


@dataclass(frozen=True)
class QueueSettings:
    """How much of a partition one endpoint may hold."""

    # Jobs in hand that wait for a place; further ones are parked. Of an endpoint that takes `quick` within a second it is so
    # many: who waits behind them waits shorter than backlog takes. While a partition is nearly full, only `pressed`.
    waiting: int = 64
    quick: int = 256
    pressed: int = 4
    # A serial queue that waits longer than this, in seconds, waits in its log.
    hold: float = 0.5


class PendingJob:
    """One job in the hands of this process: from a consumer, or from a queue's log (`parked_at`, its place there)."""

    __slots__ = ("consumer", "job", "message", "order", "parked_at", "resting", "since", "size", "suspect", "unsure")

    def __init__(
        self,
        job: Job,
        since: float,
        message: Message | None = None,
        consumer: Consumer | None = None,
        parked_at: int = 0,
        size: int = 0,
    ) -> None:
        self.job = job
        self.message = message
        self.consumer = consumer
        self.parked_at = parked_at
        self.since = since
        self.size = size
        self.order = job.order or (message.sequence if message is not None else 0)
        # Whether somebody may have died of it.
        self.suspect = False
        # Whether it may lie in the log already, because its backlog was not answered.
        self.unsure = False
        # Whether it waits here without having one of the partition's places.
        self.resting = False


class Post:
    """What goes out in one post: a job, or several as a batch. `job` is the one that stands for it."""

    __slots__ = ("id", "job", "pending", "suspect")

    def __init__(self, pending: list[PendingJob], job: Job) -> None:
        self.pending = pending
        self.job = job
        self.id = job.id
        self.suspect = any(each.suspect for each in pending)

    @property
    def jobs(self) -> Sequence[Job]:
        """Each event's own job."""
        return self.job.parts or (self.job,)

    @property
    def has_letters(self) -> bool:
        """Whether dead letters are out of date once it is over."""
        return any(job.letters for job in self.jobs)


class OrderedQueue:
    """One line of an endpoint's jobs."""

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
        # On their way into the log, in order.
        self.parking: deque[PendingJob] = deque()
        # Jobs in the log that are not in hand, those on their way included; and up to where it has been fetched.
        self.behind = behind
        self.after = 0
        self.under_way = 0
        self.head: Head | None = None
        self.not_before = 0.0
        # Where a predecessor has left a log: the place of its first (0: not looked up yet), for what stands before it; None
        # as soon as that has been heard. What comes before it was looked up waits here.
        self.first: int | None = None
        self.early: list[PendingJob] = []
        # Jobs that are fetched first after a predecessor died, of which it may have died.
        self.suspects = False

    @property
    def halted(self) -> bool:
        return self.head is not None and self.head.halted

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.waiting or self.early or self.parking or self.behind or self.under_way or self.head)

    def may_begin(self, now: float) -> bool:
        """Whether the next post may be posted, as far as the queue goes."""
        if not self.waiting or self.halted or (self.serial and self.under_way):
            return False
        return now >= self.not_before

    def put_back(self, pending: list[PendingJob]) -> None:
        """Lets jobs stand in front again, in their order."""
        self.waiting.extendleft(reversed(pending))

    def park_waiting(self) -> list[PendingJob]:
        """Lets go of what waits: what came from the log is there still, the rest goes there, in order.

        Gives what must stay in hand, because it stands before what lies in the log, and there is an order to keep.
        """
        waiting, self.waiting = self.waiting, deque()
        parked_behind = self.serial and self.behind > 0
        goes: deque[PendingJob] = deque()
        for pending in reversed(waiting):
            if pending.parked_at:
                parked_behind = self.serial
            elif parked_behind:
                self.waiting.appendleft(pending)
            else:
                goes.appendleft(pending)
        self.unfetch(pending for pending in waiting if pending.parked_at)
        self.park(goes)
        return list(self.waiting)

    def unfetch(self, fetched: Iterable[PendingJob]) -> None:
        """Lets jobs be fetched again."""
        for pending in fetched:
            self.behind += 1
            self.after = min(self.after, pending.parked_at - 1)

    def park(self, fresh: Iterable[PendingJob]) -> None:
        """Sends new jobs to the log."""
        for pending in fresh:
            self.parking.append(pending)
            self.behind += 1

    @property
    def stored(self) -> int:
        """Jobs that can be fetched."""
        return self.behind - len(self.parking)


class _Keyed(msgspec.Struct, gc=False):
    """An event as far as its key goes."""

    key: str | None = None


_keyed = msgspec.msgpack.Decoder(_Keyed).decode


def queue_of(job: Job, mode: str) -> tuple[str, bool]:
    """The name of a job's queue, and whether it is serial. A key is the event's own, else its subject."""
    if mode != "keyed" or job.parts:
        return ALL, mode == "fifo"
    try:
        key = _keyed(job.payload).key
    except DECODE_FAULTS:
        key = None
    text = (key or job.subject).encode(errors="replace")
    # 64 bits: two keys that share a queue are as good as never.
    return f"k{hashlib.blake2b(text, digest_size=8).hexdigest()}", True


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """One part of a batch that was split, whose turn is still to come."""

    id: str
    jobs: int
    attempt: int
    tried: int = 0
    last_status: int = 0


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the first job of an ordered queue has come: its delivery (or batch), the jobs in it, what is to follow."""

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
