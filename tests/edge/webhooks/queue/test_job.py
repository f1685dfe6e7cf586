from __future__ import annotations

import re
from typing import cast

import pytest
from msgspec.structs import replace

from edge.webhooks.queue.job import Job, delivery_id, partition_of, read
from router.codec import encode
from router.errors import BadEvent
from router.event import Event
from router.nats.connection import Connection
from router.nats.consumer import Message

JOB = Job("sess_1", 3, "0192-id", "orders.1.placed", 42, b"payload", 1_800_000_000_000_000_000)


def stored(subject: str, headers: dict[str, str], payload: bytes = b"payload") -> Message:
    return Message(subject, payload, headers, 1, 1, JOB.queued, 0, "$JS.ACK", cast(Connection, None))


def test_a_job_is_read_as_it_was_written():
    assert read(stored(JOB.address, JOB.headers())) == JOB


def test_a_retry_that_is_due_is_the_same_job_one_attempt_later():
    retry = JOB.next_attempt(503)
    headers = retry.due(1_800_000_001_500_000_000)

    assert read(stored(headers["Nats-Schedule-Target"], headers)) == replace(retry, due_at=1_800_000_001_500_000_000)
    assert (retry.attempt, retry.last_status, retry.id) == (2, 503, JOB.id)
    assert headers["Nats-Schedule"] == "@at 2027-01-15T08:00:01.500000Z"


def test_a_job_that_is_parked_again_is_no_repeat_and_no_attempt():
    first = JOB.parked("all")
    back = read(stored(first.subject, first.headers, first.payload))

    assert back is not None and (back.attempt, back.parks, back.id) == (1, 1, JOB.id)
    assert first.headers["Nats-Msg-Id"] == JOB.parked("all").headers["Nats-Msg-Id"]
    assert first.headers["Nats-Msg-Id"] != back.parked("all").headers["Nats-Msg-Id"]
    assert first.subject == "hook.park.3.sess_1.all"


def test_a_batch_is_read_as_it_was_written_and_the_same_jobs_are_the_same_batch():
    other = Job(
        "sess_1", 3, "0193-id", "orders.2.placed", 43, b"other", 1_800_000_000_000_000_001, run=2, trigger="redrive"
    )
    batch = Job.batch([JOB, other])
    headers = batch.next_attempt(500).due(1_800_000_001_500_000_000)

    back = read(stored(headers["Nats-Schedule-Target"], headers, batch.body))

    assert back is not None and back.parts == (JOB, other)
    assert (back.id, back.attempt, back.due_at) == (Job.batch([JOB, other]).id, 2, 1_800_000_001_500_000_000)
    assert batch.id != Job.batch([other, JOB]).id


def test_a_delivery_is_named_by_event_and_session_and_fits_a_subject():
    assert delivery_id("a", 1, "s") == delivery_id("a", 1, "s") != delivery_id("a", 1, "t")
    assert re.fullmatch(r"[0-9a-f]{32}", delivery_id("what.ever:it is", 1, "s"))


def test_events_of_two_publishers_with_one_id_are_two_jobs():
    other = replace(JOB, sequence=JOB.sequence + 1)

    assert JOB.headers()["Nats-Msg-Id"] != other.headers()["Nats-Msg-Id"]
    assert JOB.id != other.id and JOB.deadletter_id != other.deadletter_id and JOB.schedule != other.schedule
    assert JOB.due(1)["Nats-Msg-Id"] != other.due(1)["Nats-Msg-Id"]


def test_a_job_that_an_earlier_version_stored_is_read():
    headers = {**JOB.headers(), "Nats-Msg-Id": f"{JOB.event_id}:{JOB.session}"}

    job = read(stored(JOB.address, headers, JOB.payload))

    assert job is not None and (job.event_id, job.sequence) == (JOB.event_id, JOB.sequence)


def test_what_is_no_job_is_not_read():
    assert read(stored("hook.q.x.sess_1", JOB.headers())) is None
    assert read(stored("hook.q", JOB.headers())) is None
    assert read(stored(JOB.address, {})) is None


def test_sessions_spread_over_the_partitions():
    assert {partition_of(f"sess_{n}", 4) for n in range(100)} == {0, 1, 2, 3}


def test_what_is_asked_for_again_is_the_same_delivery_and_no_repeat_of_another():
    event = Event.new("orders.1.placed", {"n": 1})
    first = Job.again("sess_1", encode(event), "orders.1.placed", 7, unique="job-1:9")
    second = Job.again("sess_1", encode(event), "orders.1.placed", 7, unique="job-2:9", trigger="manual")

    one, other = (read(stored(each.subject, each.headers, each.payload)) for each in (first, second))

    assert one is not None and other is not None
    assert one.id == other.id == delivery_id(event.id, 7, "sess_1")
    assert (one.run, one.trigger, other.trigger, one.attempt) == (1, "redrive", "manual", 1)
    assert first.headers["Nats-Msg-Id"] != second.headers["Nats-Msg-Id"]
    assert (
        first.headers["Nats-Msg-Id"]
        == (Job.again("sess_1", encode(event), "orders.1.placed", 7, unique="job-1:9").headers["Nats-Msg-Id"])
    )
    retries = [job.next_attempt(500) for job in (one, other)]
    assert len({retry.due(0)["Nats-Msg-Id"] for retry in retries}) == len({retry.schedule for retry in retries}) == 2
    assert one.deadletter_id != other.deadletter_id


def test_what_is_no_event_cannot_be_asked_for_again():
    with pytest.raises(BadEvent):
        Job.again("sess_1", b"?", "orders.1.placed", 7, unique="a")
