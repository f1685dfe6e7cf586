"""Takes the next post out of a queue: one job, or a batch that is full enough or old enough."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from edge.sessions.endpoint.settings import BatchSettings
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import OrderedQueue
from edge.webhooks.queue.post import PendingJob, Post

# The rest of a batch that is tried again is in the backlog; it is looked for again after so many seconds.
REFETCH_SECONDS = 0.1


def next_post(
    queue: OrderedQueue, batch: BatchSettings | None, weigh: Callable[[PendingJob], int], now: float
) -> Post | float:
    """Takes the next post out of a queue that has waiting jobs; or says in how many seconds to ask again for a batch.

    `now` is a time of the event loop.
    """
    head, first = queue.head, queue.waiting[0]
    if first.job.parts or (batch is None and (head is None or head.jobs == 1)):
        queue.waiting.popleft()
        some, job = [first], first.job
    else:
        taken = _gather(queue, batch, weigh, now)
        if isinstance(taken, float):
            return taken
        some = taken
        job = Job.batch([pending.job for pending in some])
    if head is not None:
        if head.id == job.id:
            job = replace(job, attempt=head.attempt, last_status=head.last_status, tried=head.tried)
        else:
            queue.head = None  # of a job that is no more
    return Post(some, job)


def _gather(
    queue: OrderedQueue, batch: BatchSettings | None, weigh: Callable[[PendingJob], int], now: float
) -> list[PendingJob] | float:
    """Takes a batch out of a queue: as full as it may be, or as old, or the one that is to be tried again."""
    again = queue.head.jobs if queue.head is not None else 0
    max_jobs = again or (batch.max_n if batch is not None else 1)
    # A batch that is tried again has the same jobs.
    max_bytes = batch.max_bytes if batch is not None and not again else 0
    count = size = 0
    full = False
    for pending in queue.waiting:
        weight = weigh(pending) if max_bytes else 0
        if pending.job.parts or count == max_jobs or (count and max_bytes and size + weight > max_bytes):
            full = True
            break
        count, size = count + 1, size + weight
    full = full or count >= max_jobs or size >= max_bytes > 0
    if again and not full and queue.behind:
        return REFETCH_SECONDS
    if not full and batch is not None and not again:
        left = queue.waiting[0].since + batch.linger - now
        if left > 0:
            return left
    return [queue.waiting.popleft() for _ in range(count)]
