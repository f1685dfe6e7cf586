"""Every post is noted, and can be asked for: of a session, of an event, by what it came to, page by page."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from aiohttp import web

from edge.app import openapi as document
from edge.errors import Problem
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.history.attempt import Attempt, Part
from edge.webhooks.history.attempt_log import AttemptLog, AttemptLogSettings
from edge.webhooks.history.attempts import AttemptPosition, Attempts
from edge.webhooks.queue.job import delivery_id
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually, in_time

OK = Outcome(Verdict.DELIVERED, 204, seconds=0.01)
BAD = Outcome(Verdict.RETRY, 500, "server_error", seconds=0.01, head=b"no")


def attempt(session: str, n: int, outcome: Outcome = OK, **more: Any) -> Attempt:
    event = f"event-{n}"
    return Attempt.of(
        outcome,
        session=session,
        delivery=delivery_id(event, n + 1, session),
        event=event,
        sequence=n + 1,
        begun=time.time_ns(),
        **more,
    )


async def stored(stage: Stage, attempts: list[Attempt], **settings: Any) -> Attempts:
    """Notes attempts and waits until they are stored."""
    log = AttemptLog(stage.broker, AttemptLogSettings(**{"every": 0.01, **settings}))
    running = asyncio.ensure_future(log.run())
    for each in attempts:
        log.note(each)
    await in_time(log.flushed())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return Attempts(stage.broker)


async def pages(read: Attempts, session: str, limit: int, **more: Any) -> list[Attempt]:
    found: list[Attempt] = []
    before = None
    while True:
        page = await read.page(session, before=before, limit=limit, **more)
        found += page.attempts
        if page.next is None:
            return found
        before = page.next


def new_session() -> str:
    return f"sess_{secrets.token_hex(12)}"


async def test_pages_hold_every_attempt_once_and_the_newest_first(stage: Stage) -> None:
    session, other = new_session(), new_session()
    made = [attempt(session if n % 3 else other, n, BAD if n % 7 == 0 else OK) for n in range(900)]
    read = await stored(stage, made, together=5)
    own = [each.event for each in made if each.session == session]

    for limit in (1 + len(own) // 3, 500):
        found = [each.event for each in await pages(read, session, limit)]
        assert sorted(found) == sorted(own)
    # Both results lie in messages of their own, so that only each of them is in order.
    failed = [each.event for each in await pages(read, session, 17, result="fail")]
    assert failed == [each.event for each in made if each.session == session and not each.ok][::-1]


async def test_the_attempts_of_one_event_are_found_among_all(stage: Stage) -> None:
    session = new_session()
    made = [attempt(session, n) for n in range(300)]
    made += [attempt(session, 42, BAD, attempt=2), attempt(session, 42, OK, attempt=3)]
    read = await stored(stage, made)

    by_event = await pages(read, session, 50, event="event-42")
    by_delivery = await read.of(session, delivery_id("event-42", 43, session))

    assert sorted(each.attempt for each in by_event) == [1, 2, 3]
    assert [each.attempt for each in by_delivery] == [1, 2, 3]


async def test_an_event_of_a_batch_is_found_by_its_own_id(stage: Stage) -> None:
    session = new_session()
    parts = [Part(f"event-{n}", n + 1) for n in range(5)]
    read = await stored(stage, [attempt(session, 99, BAD, parts=parts), attempt(session, 7)])

    (found,) = await pages(read, session, 50, event="event-3")
    (same,) = await read.of(session, delivery_id("event-3", 4, session))

    assert found == same and found.describe()["events"] == [f"event-{n}" for n in range(5)]


def test_a_cursor_is_read_as_it_was_written_and_nothing_else_is() -> None:
    assert AttemptPosition.parse(str(AttemptPosition(12, 3))) == AttemptPosition(12, 3)
    for text in ("", "12", "12.x", "-1.0", "1.2.3", "9" * 40 + ".1", "1.1\n"):
        with pytest.raises(Problem) as refused:
            AttemptPosition.parse(text)
        assert refused.value.code == "bad_cursor"


async def test_what_was_posted_is_told_over_http(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        if len(receiver.posts) == 1:
            return web.Response(status=503, text="not \x00 now <b>" + "x" * 5000)
        return web.Response(status=204)

    receiver.answer = answer
    session = await edge.session(
        delivery_method="webhook", webhook_url=receiver.url + "?token=geheim", subjects=[f"job.{entity}.>"]
    )
    await edge.numbers(entity, 1)
    address = f"/callbacks/sessions/{session}/attempts"

    async def told() -> list[dict[str, Any]]:
        return (await edge.http.get(address)).json()["attempts"]  # type: ignore[no-any-return]

    async def both() -> bool:
        return len(await told()) == 2

    await eventually(both)
    second, first = sorted(await told(), key=lambda each: -each["attempt"])

    assert (first["status"], first["error"], first["ok"], first["verdict"]) == (503, "server_error", False, "retry")
    assert first["next_attempt_at"] > first["at"] and len(first["response_head"]) == 1024
    assert (second["status"], second["error"], second["ok"], second["attempt"]) == (204, None, True, 2)
    assert first["delivery"] == second["delivery"] and second["next_attempt_at"] is None
    assert first["webhook_id"] == receiver.posts[0].headers["webhook-id"]
    assert first["address"] == "127.0.0.1" and first["timing_ms"]["total"] > 0 and first["timing_ms"]["connect"] > 0
    assert "geheim" not in str(await told()) and first["destination"] == receiver.url
    schema = document()["components"]["schemas"]["Attempt"]
    assert set(first) == set(schema["properties"])
    for query, count in (
        (f"event={first['event']}", 2),
        ("event=other", 0),
        ("result=ok", 1),
        ("result=fail", 1),
        (f"delivery={first['webhook_id']}", 2),
        ("limit=1", 1),
    ):
        assert len((await edge.http.get(f"{address}?{query}")).json()["attempts"]) == count, query
    next = (await edge.http.get(f"{address}?limit=1")).json()["next"]
    rest = (await edge.http.get(f"{address}?cursor={next}")).json()
    assert len(rest["attempts"]) == 1 and rest["next"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=0", "bad_parameter"), ("limit=501", "bad_parameter"), ("limit=x", "bad_parameter"),
     ("result=maybe", "bad_parameter"), ("delivery=x", "bad_parameter"), ("cursor=zz", "bad_cursor"),
     ("nonsense=1", "bad_parameter"), ("event=" + "x" * 201, "bad_parameter")],
)  # fmt: skip
async def test_a_bad_question_gets_a_clear_answer(edge: RunningEdge, receiver: Receiver, query: str, code: str) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url=receiver.url)

    answer = await edge.http.get(f"/callbacks/sessions/{session}/attempts?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_only_a_webhook_session_has_attempts_and_health(edge: RunningEdge) -> None:
    session = await edge.session()
    for way in ("attempts", "health", "recoveries"):
        answer = await edge.http.get(f"/callbacks/sessions/{session}/{way}")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_a_webhook")
    for way in ("attempts", "health", "recoveries", "recoveries/abc"):
        answer = await edge.http.get(f"/callbacks/sessions/sess_000000000000000000000000/{way}")
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
