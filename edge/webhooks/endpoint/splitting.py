"""Splits a batch that failed, so that only the events that its receiver refuses become dead letters."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from edge.webhooks.client.outcome import Outcome
from edge.webhooks.queue.job import Job
from edge.webhooks.queue.ordering import Head, Piece

# What these statuses say holds for every request to this endpoint at this time: half a batch fares no better.
_OF_THE_ENDPOINT = frozenset({401, 402, 403, 405, 407, 408, 421, 425, 426, 429, 502, 503, 504})
# Attempts without a usable answer that one event may be the cause of: it is slow to handle, or crashes its handler.
_OF_THE_EXCHANGE = frozenset({"timeout", "body_timeout", "reset", "bad_answer"})
# What ends a batch before or beside its post, and may be true of one of its events only.
_OF_AN_EVENT = frozenset({"ttl_expired", "decode_error", "aborted", "fault"})
# Reasons for which a job ends without having been posted.
UNPOSTED = frozenset({"ttl_expired", "overflow", "endpoint_disabled", "too_large"})


class Halves(NamedTuple):
    """A batch in two, in the order of its events."""

    first: Job
    second: Job


def is_about_content(outcome: Outcome) -> bool:
    """Whether a batch may have failed because of some of its events, and not because of its endpoint."""
    if outcome.disable:
        return False
    if outcome.fault in _OF_AN_EVENT or outcome.fault in _OF_THE_EXCHANGE:
        return True
    return 400 <= outcome.status < 600 and outcome.status not in _OF_THE_ENDPOINT


def is_to_be_split(job: Job, outcome: Outcome) -> bool:
    """Whether a job that is over is tried once more in two halves."""
    return len(job.parts) > 1 and is_about_content(outcome)


def attempts_of(job: Job, outcome: Outcome) -> int:
    """How many posts have carried a job, that which led to the outcome included."""
    return job.attempt - 1 if outcome.fault in UNPOSTED else job.attempt


def halve(job: Job, outcome: Outcome) -> Halves:
    """Makes two batches of one. Each counts its attempts on, and may be retried as often as any other delivery.

    A batch of one event stays a batch: its receiver expects an array.
    """
    middle = (len(job.parts) + 1) // 2
    made = attempts_of(job, outcome)
    tried = job.tried if outcome.fault in UNPOSTED else made
    first, second = (
        replace(Job.batch(parts), attempt=made + 1, tried=tried, last_status=outcome.status, trigger=job.trigger)
        for parts in (job.parts[:middle], job.parts[middle:])
    )
    return Halves(first, second)


def head_of(halves: Halves, before: Head | None, not_before: float = 0.0) -> Head:
    """The head of an ordered queue whose first batch was split: the first half, and after it the others."""
    first, second = (Piece(half.id, len(half.parts), half.attempt, half.tried, half.last_status) for half in halves)
    return _head(first, [second, *(before.rest if before is not None else [])], not_before)


def following(head: Head) -> Head | None:
    """The head of an ordered queue after its first batch is over; None where no piece of a split batch follows."""
    return _head(head.rest[0], head.rest[1:]) if head.rest else None


def _head(piece: Piece, rest: list[Piece], not_before: float = 0.0) -> Head:
    id, jobs, attempt, tried, last_status = piece.id, piece.jobs, piece.attempt, piece.tried, piece.last_status
    return Head(id, jobs, attempt, not_before, last_status=last_status, tried=tried, rest=rest)
