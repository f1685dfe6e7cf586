"""A batch that is refused is split, so that only what its receiver refuses becomes a dead letter."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edge.sessions.endpoint.settings import BatchSettings
from edge.sessions.registry import Session
from edge.webhooks.client.outcome import Outcome, Verdict, of_status
from edge.webhooks.endpoint.splitting import attempts_of, following, halve, head_of, is_to_be_split
from edge.webhooks.queue.job import Job, partition_of
from edge.webhooks.queue.ordering import Head
from router.broker import Broker
from router.clock import wall
from router.deadletter import DeadLetter, webhook_subject
from router.deadletters import DeadLetters
from tests.edge.webhooks.observing import NARROW, firsts, nothing_left
from tests.edge.webhooks.stage import Receiver, Stage, mortal
from tests.waiting import eventually, in_time

# No batch goes out because time is up.
LONG = 600.0


class Picky:
    """A receiver of batches that refuses some of them."""

    def __init__(self, receiver: Receiver, refuses: Callable[[list[int]], int]) -> None:
        """`refuses` says the status for a batch, 0 where it is taken."""
        self.posts: list[list[int]] = []
        self.taken: list[int] = []
        self._refuses = refuses
        receiver.answer = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        assert isinstance(said, list), "a batch of one is an array, too"
        numbers = [event["data"]["n"] for event in said]
        self.posts.append(numbers)
        status = self._refuses(numbers)
        if not status:
            self.taken += numbers
        return web.Response(status=status or 200)

    def carried(self, n: int) -> int:
        """How many posts carried an event."""
        return sum(n in numbers for numbers in self.posts)


async def letters(broker: Broker, session: Session) -> dict[int, DeadLetter]:
    found = (await DeadLetters(broker).read(pattern=webhook_subject(session.id))).deadletters
    return {event.data["n"]: letter for letter in found if (event := letter.event()) is not None}


@pytest.mark.parametrize("mode", ["unordered", "keyed", "fifo"])
@pytest.mark.parametrize(("status", "reason"), [(500, "exhausted"), (413, "payload_too_large")])
async def test_of_a_batch_with_one_refused_event_only_that_becomes_a_dead_letter(
    stage: Stage, receiver: Receiver, mode: str, status: int, reason: str
):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=8, linger=LONG), mode=mode, retry_attempts=1)
    picky = Picky(receiver, lambda numbers: status if 5 in numbers else 0)

    await stage.publish("agent.run-1.progress", 8)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 7)
    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    found = await letters(stage.broker, session)
    assert (list(found), found[5].reason) == ([5], reason)
    assert found[5].attempts == picky.carried(5)
    assert Counter(picky.taken) == Counter(n for n in range(8) if n != 5)
    assert mode == "unordered" or picky.taken == [0, 1, 2, 3, 4, 6, 7]
    await eventually(lambda: nothing_left(stage.broker))


@pytest.mark.parametrize("mode", ["unordered", "fifo"])
async def test_a_receiver_that_takes_small_batches_only_gets_all_in_small_ones(
    stage: Stage, receiver: Receiver, mode: str
):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=12, linger=LONG), mode=mode, retry_attempts=0)
    picky = Picky(receiver, lambda numbers: 413 if len(numbers) > 3 else 0)

    await stage.publish("agent.run-1.progress", 12)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 12)
    assert await letters(stage.broker, session) == {}
    assert sorted(picky.taken) == list(range(12))
    assert mode == "unordered" or picky.taken == list(range(12))
    assert [len(numbers) for numbers in picky.posts if len(numbers) > 3] == [12, 6, 6]


async def test_a_batch_for_an_endpoint_that_is_away_is_not_split(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, batch=BatchSettings(max_n=4, linger=LONG), retry_attempts=1)
    picky = Picky(receiver, lambda numbers: 502)

    await stage.publish("agent.run-1.progress", 4)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 4)
    assert [sorted(numbers) for numbers in picky.posts] == [[0, 1, 2, 3]] * 2
    assert {letter.attempts for letter in (await letters(stage.broker, session)).values()} == {2}


async def test_an_ordered_session_that_halts_halts_at_the_one_that_is_refused(stage: Stage, receiver: Receiver):
    process = await stage.process()
    batch = BatchSettings(max_n=8, linger=LONG)
    session = await stage.session(receiver.url, batch=batch, mode="fifo", on_exhausted="halt", retry_attempts=0)
    refused = {2}
    picky = Picky(receiver, lambda numbers: 422 if refused & set(numbers) else 0)

    await stage.publish("agent.run-1.progress", 8)

    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")
    assert (picky.taken, picky.posts[-1]) == ([0, 1], [2])
    refused.clear()
    await process.webhooks.enable(session.id)
    await eventually(lambda: picky.taken == list(range(8)))
    assert await letters(stage.broker, session) == {}


@pytest.mark.slow
async def test_split_batches_keep_their_order_through_a_change_of_owner(stage: Stage, receiver: Receiver):
    await stage.widen(1000)
    process = await stage.process(mortal(NARROW))
    batch = BatchSettings(max_n=8, linger=0.05)
    session = await stage.session(receiver.url, batch=batch, mode="fifo", retry_attempts=0)
    between = asyncio.Event()

    def refuses(numbers: list[int]) -> int:
        # Between the pieces of a batch that was split.
        if len(picky.taken) > 30 and len(numbers) < 4:
            between.set()
        return 422 if any(n % 16 == 11 for n in numbers) else 0

    picky = Picky(receiver, refuses)

    await stage.publish("agent.run-1.progress", 96)

    await in_time(between.wait())
    await process.die()
    stage.processes.remove(process)
    await stage.process(mortal(NARROW))

    expected = [n for n in range(96) if n % 16 != 11]
    await eventually(lambda: firsts(picky.taken) == expected)
    await eventually(lambda: nothing_left(stage.broker))
    assert sorted(await letters(stage.broker, session)) == [n for n in range(96) if n % 16 == 11]


async def test_an_event_that_is_too_old_takes_no_younger_one_with_it(stage: Stage, receiver: Receiver):
    process = await stage.process()
    batch = BatchSettings(max_n=4, linger=LONG)
    session = await stage.session(receiver.url, batch=batch, max_age=3600.0)
    picky = Picky(receiver, lambda numbers: 0)

    jobs = [_job(session.id, n) for n in range(4)]
    for job in (jobs[0], msgspec.structs.replace(jobs[1], queued=1), jobs[2], jobs[3]):
        await stage.broker.store(job.address, msgspec.msgpack.encode(_event(job)), job.headers())

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 3)
    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    found = await letters(stage.broker, session)
    assert {n: (letter.reason, letter.attempts) for n, letter in found.items()} == {1: ("ttl_expired", 0)}
    assert sorted(picky.taken) == [0, 2, 3]


def _event(job: Job) -> dict[str, Any]:
    n = job.sequence - 1
    return {
        "id": job.event_id,
        "type": "progress",
        "source": "test",
        "subject": job.subject,
        "time": 1,
        "data": {"n": n},
    }


def _job(session: str, n: int) -> Job:
    return Job(session, partition_of(session, 2), f"e{n}", "agent.run-1.progress", n + 1, b"", wall.now_ns(), run=1)


def _batch(count: int) -> Job:
    return Job.batch([Job("sess_1", 0, f"e{n}", "agent.run-1.progress", n + 1, b"", 1) for n in range(count)])


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=8), st.integers(0, 3))
def test_halving_finds_each_refused_event_and_counts_its_posts(count: int, poison: set[int], retries: int):
    refused = of_status(422, None, 0.0)
    carried: Counter[str] = Counter()
    given_up: dict[str, int] = {}
    waiting, taken = [_batch(count)], []
    while waiting:
        job = waiting.pop(0)
        for part in job.parts:
            carried[part.event_id] += 1
        if not any(int(part.event_id[1:]) in poison for part in job.parts):
            taken += [part.event_id for part in job.parts]
        elif job.attempt - job.tried <= retries and not (job.tried and is_to_be_split(job, refused)):
            waiting.insert(0, job.next_attempt(422))
        elif is_to_be_split(job, refused):
            waiting[:0] = halve(job, refused)
        else:
            given_up[job.parts[0].event_id] = attempts_of(job, refused)

    assert taken == [f"e{n}" for n in range(count) if n not in poison]
    assert given_up == {f"e{n}": carried[f"e{n}"] for n in sorted(poison) if n < count}


@given(st.integers(2, 100))
def test_the_pieces_of_a_serial_queue_are_its_batch_in_order(count: int):
    refused = of_status(413, None, 0.0)
    batch, seen = _batch(count), []
    head: Head | None = Head(batch.id, count)
    parts = list(batch.parts)
    while head is not None:
        # As it is read by a successor.
        head = msgspec.json.decode(msgspec.json.encode(head), type=Head)
        job = Job.batch(parts[: head.jobs])
        assert job.id == head.id
        job = msgspec.structs.replace(job, attempt=head.attempt, tried=head.tried)
        if head.jobs > 1:
            head = head_of(halve(job, refused), head)
            continue
        seen.append((parts.pop(0).event_id, head.attempt))
        head = following(head)

    assert [id for id, _ in seen] == [f"e{n}" for n in range(count)]
    assert all(1 < attempt <= 8 for _, attempt in seen)


@pytest.mark.parametrize(
    ("outcome", "split"),
    [
        (of_status(400, None, 0.0), True),
        (of_status(413, None, 0.0), True),
        (of_status(500, None, 0.0), True),
        (of_status(500, None, 0.0, control="abort-message"), True),
        (Outcome(Verdict.RETRY, fault="timeout"), True),
        (Outcome(Verdict.RETRY, fault="reset"), True),
        (Outcome(Verdict.FINAL, fault="decode_error"), True),
        (of_status(401, None, 0.0), False),
        (of_status(410, None, 0.0), False),
        (of_status(429, None, 0.0), False),
        (of_status(503, None, 0.0), False),
        (of_status(302, None, 0.0), False),
        (Outcome(Verdict.RETRY, fault="refused"), False),
        (Outcome(Verdict.FINAL, fault="ssrf_blocked"), False),
    ],
)
def test_only_what_may_be_one_event_of_it_splits_a_batch(outcome: Outcome, split: bool):
    assert is_to_be_split(_batch(2), outcome) is split
    assert not is_to_be_split(_batch(1), outcome)


def test_a_job_keeps_its_attempts_before_the_split():
    halves = halve(msgspec.structs.replace(_batch(4), attempt=3), of_status(500, None, 0.0))

    assert [(half.attempt, half.tried, len(half.parts)) for half in halves] == [(4, 3, 2), (4, 3, 2)]
    assert halves.first.due(0)["X-Tried"] == "3"
