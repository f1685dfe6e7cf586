"""The values of a redrive: what is left of it, and how long that takes."""

from __future__ import annotations

from typing import Any

from edge.deadletters.query import DeadLetterFilter, Span
from edge.deadletters.redrive_job import RedriveJob, new_job


def job(**fields: Any) -> RedriveJob:
    return RedriveJob(id="0" * 12, created=0, filter=DeadLetterFilter(), **fields)


def test_a_limit_counts_what_is_sent_and_not_what_is_skipped():
    assert job().total is None
    assert job(matched=10).total == 10
    assert job(matched=10, limit=3, sent=1, skipped=2, failed=1).total == 6


def test_the_time_that_is_left_follows_from_the_rate_so_far():
    running = job(matched=30, sent=10, started=1_000_000_000, updated=3_000_000_000)

    assert running.describe()["eta"] == 4.0
    assert job(state="done").describe()["eta"] == 0.0
    assert job(matched=30).describe()["eta"] is None


def test_a_new_job_covers_its_span():
    made = new_job(DeadLetterFilter(name="s1"), Span(4, 9), rate=5.0)

    assert (made.after, made.upto, made.rate, made.state) == (4, 9, 5.0, "running")
