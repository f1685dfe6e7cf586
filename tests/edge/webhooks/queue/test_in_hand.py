"""Tests of edge/webhooks/queue/in_hand.py: a job is in hand once, and its credit is given back once."""

from __future__ import annotations

from typing import cast

from edge.webhooks.queue.acks import AckBatcher
from edge.webhooks.queue.in_hand import SETTLED, JobsInHand
from edge.webhooks.queue.post import PendingJob
from router.nats.consumer import Consumer
from router.nats.publisher import Publisher
from tests.edge.webhooks.queue.test_ordering import new, parked


class Source:
    """As much of a consumer as a job in hand needs: counts how often its credit was given back."""

    def __init__(self, stream: str = "HOOKS") -> None:
        self.stream = stream
        self.returned = 0

    def done(self) -> None:
        self.returned += 1


def in_hand(credit: int = 8, credit_bytes: int = 1000) -> JobsInHand:
    return JobsInHand(AckBatcher(cast(Publisher, None)), credit, credit_bytes)


def taken(jobs: JobsInHand, source: Source, n: int, size: int = 1) -> PendingJob:
    pending = new(n)
    pending.consumer, pending.size = cast(Consumer, source), size
    jobs.add((source.stream, n, 0), pending)
    return pending


def test_a_settled_job_leaves_the_hand_gives_its_credit_back_and_is_remembered():
    jobs, source = in_hand(), Source()
    pending = taken(jobs, source, 1)
    assert jobs.find(("HOOKS", 1, 0)) is pending and jobs.count("HOOKS") == 1

    jobs.end([pending])
    jobs.end([pending])

    assert len(jobs) == 0 and source.returned == 1
    assert jobs.is_settled(("HOOKS", 1, 0)) and not jobs.is_settled(("HOOKS", 1, 1))


def test_credit_is_released_once_and_the_job_stays_in_hand():
    jobs, source = in_hand(), Source()
    pending = taken(jobs, source, 1)

    jobs.release_credit([pending])
    jobs.release_credit([pending])
    assert list(jobs) == [pending] and source.returned == 1

    jobs.end([pending])
    assert source.returned == 1


def test_it_is_nearly_full_at_three_quarters_of_the_jobs_or_with_all_bytes():
    jobs, source = in_hand(credit=4), Source()
    some = [taken(jobs, source, n) for n in range(3)]
    assert not jobs.nearly_full

    some.append(taken(jobs, source, 3))
    assert jobs.nearly_full
    jobs.end(some)
    assert not jobs.nearly_full

    large = taken(jobs, source, 9, size=1001)
    assert jobs.nearly_full
    jobs.release_credit([large])
    assert not jobs.nearly_full


def test_a_parked_job_that_was_settled_is_known_by_its_place():
    jobs = in_hand()

    jobs.end([parked(7)])

    assert jobs.is_removed(7) and not jobs.is_removed(8)


def test_so_many_settled_jobs_are_remembered_and_no_more():
    jobs, source = in_hand(), Source()

    for n in range(SETTLED + 1):
        jobs.end([taken(jobs, source, n)])

    assert not jobs.is_settled(("HOOKS", 0, 0)) and jobs.is_settled(("HOOKS", 1, 0))
