"""A job in hand, and what goes out in one post: a job, or several as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.webhooks.queue.job import Job

if TYPE_CHECKING:
    from router.nats.consumer import Consumer, Message


class PendingJob:
    """One job in the hands of this process: from a consumer, or from a queue's backlog (`parked_at`, its place there)."""

    __slots__ = ("consumer", "job", "message", "order", "parked_at", "released", "since", "size", "suspect", "unsure")

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
        # Whether a worker may have died while it worked on this job.
        self.suspect = False
        # Whether it may be in the backlog already, because parking it was not answered.
        self.unsure = False
        # Whether it waits here without taking up any of its consumer's credit.
        self.released = False


class Post:
    """What goes out in one post. `job` is the one that stands for it, and `jobs` has each event's own."""

    __slots__ = ("id", "job", "jobs", "pending", "replaces_deadletters", "suspect")

    def __init__(self, pending: list[PendingJob], job: Job) -> None:
        self.pending = pending
        self.job = job
        self.jobs: Sequence[Job] = job.parts or (job,)
        self.id = job.id
        self.suspect = any(each.suspect for each in pending)
        # Whether there are dead letters of these deliveries, to be removed once they are over.
        self.replaces_deadletters = any(each.letters for each in self.jobs)

    @property
    def requested(self) -> int:
        """How many of its deliveries somebody asked for once more: the fan-out did not."""
        return sum(1 for job in self.jobs if job.chain)
