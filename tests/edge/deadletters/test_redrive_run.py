"""A redrive sends what its filter selects, at its rate, and stops where too much comes back."""

from __future__ import annotations

import secrets

import pytest

from edge.deadletters.query import DeadLetterFilter
from edge.errors import Problem
from router.codec import encode
from router.deadletter import Origin, actor_subject, webhook_subject
from router.nats.service import Request
from router.subject import STORED
from tests.edge.deadletters.redriving import Process, actor, bury, jobs, letters, webhook_session
from tests.waiting import eventually


async def test_a_dry_run_counts_and_changes_nothing(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 3)
    await bury(process.dead, webhook_subject("sess_" + "0" * 24), 2)
    await bury(process.dead, actor_subject("gone"), back="cmd.gone.main.redrive")

    job = await process.ended((await process.start(dry_run=True)).id)

    assert (job.state, job.total, job.sent, job.skipped) == ("done", 6, 3, 3)
    assert job.reasons == {"session_gone": 2, "actor_absent": 1}
    assert len(await letters(process)) == 6 and await jobs(process.broker, session) == []


async def test_a_job_sends_what_its_filter_means_up_to_its_limit_oldest_first(process: Process) -> None:
    session = await webhook_session(process.broker)
    events = await bury(process.dead, webhook_subject(session), 5, reason="gone")
    await bury(process.dead, webhook_subject(session), 5, reason="exhausted")

    job = await process.ended((await process.start(DeadLetterFilter(reason="gone"), limit=3)).id)

    assert (job.sent, job.total) == (3, 3)
    assert [headers["X-Event"] for headers in await jobs(process.broker, session)] == [e.id for e in events[:3]]
    assert len(await letters(process)) == 7


async def test_a_job_leaves_what_was_buried_after_its_beginning(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 4)
    job = await process.start(rate=4.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent)
    (late,) = await bury(process.dead, webhook_subject(session))

    ended = await process.ended(job.id)

    assert (ended.sent, ended.total) == (4, 4)
    assert [letter.event_id for letter in await letters(process)] == [late.id]


async def test_a_job_keeps_to_its_rate(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 20)

    job = await process.ended((await process.start(rate=20.0)).id)

    assert job.sent == 20
    # The first goes at once; a tenth of a second may be made up for.
    assert (job.ended - job.started) / 1e9 >= 0.8


async def test_a_job_that_is_called_off_ends_and_the_rest_stays(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), 30)
    job = await process.start(rate=1.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent >= 2)

    await process.redrives.cancel(job.id)
    ended = await process.ended(job.id)

    assert ended.state == "cancelled"
    assert 2 <= ended.sent < 30
    assert len(await jobs(process.broker, session)) == ended.sent
    assert len(await letters(process)) == 30 - ended.sent
    with pytest.raises(Problem, match="cancelled since"):
        await process.redrives.cancel(job.id)


async def test_a_job_stops_where_too_many_come_back(process: Process) -> None:
    def called(request: Request) -> None:
        request.answer({"outcome": "rejected", "reason": "rejected", "detail": "no"})

    async with actor(process.broker, "stock", called) as address:
        await bury(process.dead, actor_subject("stock"), 10, back=address)

        job = await process.ended((await process.start()).id)

    assert (job.state, job.failed) == ("failed", 3)
    assert "more than 2 of the last 10" in job.error
    assert len(await letters(process)) == 10


async def test_a_job_stops_where_webhooks_give_up_again_what_it_sent(process: Process) -> None:
    session = await webhook_session(process.broker)
    events = await bury(process.dead, webhook_subject(session), 40)
    job = await process.start(rate=2.0)
    await eventually(lambda: process.redrives.jobs[job.id].sent >= 3)

    for event in events[:3]:
        await process.dead.add(
            webhook_subject(session),
            encode(event),
            origin=Origin("EVENTS", 1, STORED + event.subject),
            reason="gone",
            redrives=1,
            id=f"dead.{secrets.token_hex(16)}.1",
        )
    ended = await process.ended(job.id)

    assert (ended.state, ended.returned) == ("failed", 3)
    assert ended.sent < 40
