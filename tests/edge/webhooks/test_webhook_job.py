from __future__ import annotations

import re
from typing import cast

from edge.webhooks.job import Job, delivery_id, partition_of, read
from router.connection import Connection
from router.consumer import Message

JOB = Job("sess_1", 3, "0192-id", "orders.1.placed", 42, b"payload", 1_800_000_000_000_000_000)


def stored(subject: str, headers: dict[str, str], payload: bytes = b"payload") -> Message:
    return Message(subject, payload, headers, 1, 1, 0, 0, "$JS.ACK", cast(Connection, None))


def test_a_job_is_read_as_it_was_written():
    assert read(stored(JOB.address, JOB.headers())) == JOB


def test_a_retry_that_is_due_is_the_same_job_one_attempt_later():
    retry = JOB.next_attempt(503)
    headers = retry.due(1_800_000_001_500_000_000)

    assert read(stored(headers["Nats-Schedule-Target"], headers)) == retry
    assert (retry.attempt, retry.last_status, retry.id) == (2, 503, JOB.id)
    assert headers["Nats-Schedule"] == "@at 2027-01-15T08:00:01.500000Z"


def test_a_deferral_has_an_id_of_its_own_and_is_no_attempt():
    first, second = JOB.deferred(), JOB.deferred().deferred()

    assert first.attempt == second.attempt == 1
    assert len({job.due(0)["Nats-Msg-Id"] for job in (JOB, first, second, JOB.next_attempt(0))}) == 4
    assert len({job.schedule for job in (first, second, JOB.next_attempt(0))}) == 3


def test_a_delivery_is_named_by_event_and_session_and_fits_a_subject():
    assert delivery_id("a", "s") == delivery_id("a", "s") != delivery_id("a", "t")
    assert re.fullmatch(r"[0-9a-f]{32}", delivery_id("what.ever:it is", "s"))


def test_what_is_no_job_is_not_read():
    assert read(stored("hook.q.x.sess_1", JOB.headers())) is None
    assert read(stored("hook.q", JOB.headers())) is None
    assert read(stored(JOB.address, {})) is None


def test_sessions_spread_over_the_partitions():
    assert {partition_of(f"sess_{n}", 4) for n in range(100)} == {0, 1, 2, 3}
