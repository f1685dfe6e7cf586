"""A dead letter goes back to where it was given up, or says why it does not."""

from __future__ import annotations

from typing import Any

import pytest

from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import EndpointStore
from router.codec import encode
from router.deadletter import Origin, actor_subject, ingest_subject, webhook_subject
from router.event import Event
from router.nats.service import Request
from tests.edge.deadletters.redriving import Process, Start, actor, bury, jobs, letters, quick, webhook_session


async def test_a_webhooks_letter_becomes_a_job_of_its_session_with_the_next_run(process: Process) -> None:
    session = await webhook_session(process.broker)
    (event,) = await bury(process.dead, webhook_subject(session), redrives=2)
    (letter,) = await letters(process)

    job = await process.ended((await process.start()).id)

    assert (job.state, job.total, job.sent, job.failed, job.skipped) == ("done", 1, 1, 0, 0)
    (headers,) = await jobs(process.broker, session)
    assert headers["Nats-Msg-Id"] == f"rd.{job.id}.{letter.sequence}"
    assert (headers["X-Event"], headers["X-Subject"], headers["X-Sequence"]) == (event.id, event.subject, "100")
    assert (headers["X-Run"], headers["X-Attempt"]) == ("3", "1")
    assert await letters(process) == []


async def test_a_letter_of_a_session_that_is_gone_is_skipped_and_stays(process: Process) -> None:
    await bury(process.dead, webhook_subject("sess_" + "0" * 24))

    job = await process.ended((await process.start()).id)

    assert (job.state, job.sent, job.skipped, job.reasons) == ("done", 0, 1, {"session_gone": 1})
    assert len(await letters(process)) == 1


@pytest.mark.parametrize(("state", "reason"), [("open", "breaker_open"), ("disabled", "endpoint_disabled")])
async def test_a_letter_of_a_blocked_endpoint_is_skipped_unless_forced(
    process: Process, state: Any, reason: str
) -> None:
    session = await webhook_session(process.broker)
    await EndpointStore(process.broker.connection).keep(session, EndpointState(state=state))
    await bury(process.dead, webhook_subject(session))

    skipped = await process.ended((await process.start()).id)
    forced = await process.ended((await process.start(force=True)).id)

    assert (skipped.reasons, skipped.sent) == ({reason: 1}, 0)
    assert skipped.describe()["blocked"] == {session: reason}
    assert (forced.reasons, forced.blocked, forced.sent) == ({}, {}, 1)


async def test_a_letter_that_came_back_five_times_needs_force(process: Process) -> None:
    session = await webhook_session(process.broker)
    await bury(process.dead, webhook_subject(session), redrives=5)

    skipped = await process.ended((await process.start()).id)
    forced = await process.ended((await process.start(force=True)).id)

    assert (skipped.reasons, skipped.sent) == ({"needs_force": 1}, 0)
    assert forced.sent == 1


async def test_what_could_not_be_read_goes_into_the_events_once_it_can(process: Process, entity: str) -> None:
    event = Event.new(f"job.{entity}.output", {"n": 1})
    for number, payload in enumerate((encode(event), b"\xc1 garbage")):
        await process.dead.add(
            ingest_subject("EVENTS"), payload, origin=Origin("EVENTS", number, "ev.x"), reason="decode_error"
        )

    job = await process.ended((await process.start()).id)

    assert (job.sent, job.skipped, job.reasons) == (1, 1, {"undecodable": 1})
    assert [record.event for record in (await process.broker.read(f"job.{entity}.>", 0)).records] == [event]
    (left,) = await letters(process)
    assert left.payload == b"\xc1 garbage"


async def test_a_terminal_event_ends_its_run_unless_another_one_has(process: Process, entity: str) -> None:
    first, second = (Event.new(f"job.{entity}.completion", {"success": success}) for success in (True, False))
    for number, event in enumerate((first, second)):
        origin = Origin("EVENTS", number, f"ev.{event.subject}")
        await process.dead.add(ingest_subject("EVENTS"), encode(event), origin=origin, reason="decode_error")

    job = await process.ended((await process.start()).id)

    assert (job.sent, job.skipped, job.reasons) == (1, 1, {"run_over": 1})
    assert len((await process.broker.read(f"job.{entity}.completion", 0)).records) == 1


async def test_a_job_that_could_not_be_read_is_not_said_to_everybody_again(process: Process, entity: str) -> None:
    event = Event.new(f"job.{entity}.output", {"n": 1})
    await process.dead.add_undecodable(
        "HOOKS", 1, "hook.q.0.x", encode(event), fault="not a job", source="edge", reason="not_a_job"
    )

    job = await process.ended((await process.start()).id)

    assert (job.sent, job.reasons) == (0, {"no_way_back": 1})
    assert (await process.broker.read(f"job.{entity}.>", 0)).records == []


async def test_an_actors_letter_goes_to_that_actor_alone_and_leaves_once_it_is_settled(process: Process) -> None:
    given: list[dict[str, Any]] = []

    def called(request: Request) -> None:
        given.append(request.arguments())
        request.answer({"outcome": "acked"})

    async with actor(process.broker, "stock", called) as address:
        (event,) = await bury(process.dead, actor_subject("stock"), back=address)
        (letter,) = await letters(process)

        job = await process.ended((await process.start()).id)

    assert (job.sent, job.failed) == (1, 0)
    assert given == [{"id": f"rd.{job.id}.{letter.sequence}", "event": encode(event)}]
    assert await letters(process) == []
    assert (await process.broker.read("job.>", 0)).records == []


async def test_a_letter_that_its_actor_gives_up_again_stays_with_what_is_known_now(process: Process) -> None:
    def called(request: Request) -> None:
        request.answer({"outcome": "rejected", "reason": "rejected", "detail": "still no sku"})

    async with actor(process.broker, "stock", called) as address:
        await bury(process.dead, actor_subject("stock"), reason="attempts_spent", back=address)

        job = await process.ended((await process.start()).id)

    assert (job.state, job.sent, job.failed, job.reasons) == ("done", 0, 1, {"rejected": 1})
    (letter,) = await letters(process)
    assert (letter.reason, letter.detail, letter.attempts, letter.redrives) == ("rejected", "still no sku", 5, 1)
    assert letter.back == address


async def test_an_actor_that_does_not_answer_is_asked_again_under_the_same_id_or_named_as_absent(start: Start) -> None:
    asked: list[str] = []

    def called(request: Request) -> None:
        asked.append(request.arguments()["id"])
        if len(asked) == 2:
            request.refuse(503, "the mailbox is full")
        elif len(asked) == 3:
            request.answer({"outcome": "acked"})

    async with start(quick(answer_timeout=0.2)) as process, actor(process.broker, "slow", called) as address:
        await bury(process.dead, actor_subject("slow"), back=address)
        await bury(process.dead, actor_subject("gone"), back="cmd.gone.main.redrive")
        await bury(process.dead, actor_subject("old"))

        job = await process.ended((await process.start()).id)

    assert (job.sent, job.reasons) == (1, {"actor_absent": 1, "no_way_back": 1})
    assert len(asked) == 3 and len(set(asked)) == 1
