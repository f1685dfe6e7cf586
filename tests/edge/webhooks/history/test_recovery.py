"""Deliveries asked for once more: one, all that failed since a time, a stretch of the past."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from edge.app import openapi as document
from edge.errors import Problem
from edge.webhooks.history.recovery import Recoveries
from router.cursor import parse_start
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.history.recovering import QUICK, numbers
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def hook(edge: RunningEdge, receiver: Receiver, entity: str, **more: Any) -> str:
    return await edge.session(
        delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"], retry_attempts=0, **more
    )


async def attempts(edge: RunningEdge, session: str, query: str = "") -> list[dict[str, Any]]:
    answer = await edge.http.get(f"/callbacks/sessions/{session}/attempts{query}")
    return answer.json()["attempts"]  # type: ignore[no-any-return]


async def over(edge: RunningEdge, answer: Any) -> dict[str, Any]:
    """Waits until a recovery is over."""
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]

    async def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await edge.http.get(address)).json()
        return shown if shown["ended"] else None

    return await eventually(ended)  # type: ignore[no-any-return]


async def test_one_delivery_is_sent_again_under_its_own_id(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    session = await hook(edge, receiver, entity)
    await edge.numbers(entity, 3)

    async def all_noted() -> list[dict[str, Any]]:
        found = await attempts(edge, session)
        return found if len(found) == 3 else []

    noted = await eventually(all_noted)
    base = f"/callbacks/sessions/{session}"
    by_event = await edge.http.post(f"{base}/resend", json={"event": noted[0]["event"], "idempotency_key": "k"})
    repeated = await edge.http.post(f"{base}/resend", json={"event": noted[0]["event"], "idempotency_key": "k"})
    by_delivery = await edge.http.post(f"{base}/resend", json={"delivery": noted[1]["delivery"]})
    assert [answer.status_code for answer in (by_event, repeated, by_delivery)] == [202, 202, 202]

    await eventually(lambda: len(receiver.posts) == 5)

    async def manual() -> bool:
        return len([each for each in await attempts(edge, session) if each["trigger"] == "manual"]) == 2

    await eventually(manual)
    # The key was given twice, and it is one delivery.
    ids = Counter(post.headers["webhook-id"] for post in receiver.posts)
    assert ids == {noted[0]["webhook_id"]: 2, noted[1]["webhook_id"]: 2, noted[2]["webhook_id"]: 1}


async def letters(edge: RunningEdge, session: str) -> list[dict[str, Any]]:
    answer = await edge.http.get(f"/deadletters?origin=webhook&name={session}")
    assert answer.status_code == 200, answer.text
    return answer.json()["deadletters"]  # type: ignore[no-any-return]


async def has_letters(edge: RunningEdge, session: str, count: int) -> bool:
    return len(await letters(edge, session)) == count


@pytest.mark.parametrize("more", [{}, {"batch": {"max_n": 3, "linger": 60}}, {"mode": "fifo"}], ids=str)
async def test_a_resend_that_succeeds_takes_its_dead_letter_with_it(
    edge: RunningEdge, receiver: Receiver, entity: str, more: dict[str, Any]
) -> None:
    session = await hook(edge, receiver, entity, **more)
    receiver.answer = 503
    await edge.numbers(entity, 3)
    await eventually(lambda: has_letters(edge, session, 3))
    failed = await eventually(lambda: attempts(edge, session))
    receiver.answer = 200

    resend = await edge.http.post(f"/callbacks/sessions/{session}/resend", json={"delivery": failed[0]["delivery"]})

    assert resend.status_code == 202, resend.text
    left = 3 - resend.json()["events"]
    await eventually(lambda: has_letters(edge, session, left))
    assert {letter["event_id"] for letter in await letters(edge, session)}.isdisjoint(failed[0]["events"])


async def test_a_resend_that_fails_leaves_one_dead_letter_the_newest(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await hook(edge, receiver, entity)
    receiver.answer = 413
    await edge.numbers(entity, 1)
    await eventually(lambda: has_letters(edge, session, 1))
    (failed,) = await eventually(lambda: attempts(edge, session))

    for answer in (415, 413):
        receiver.answer = answer
        await edge.http.post(f"/callbacks/sessions/{session}/resend", json={"delivery": failed["delivery"]})
        reason = "unsupported_type" if answer == 415 else "payload_too_large"

        async def replaced(reason: str = reason) -> bool:
            return [letter["reason"] for letter in await letters(edge, session)] == [reason]

        await eventually(replaced)


async def test_a_recovery_and_a_replay_take_the_dead_letters_of_what_they_deliver(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await hook(edge, receiver, entity)
    other = await hook(edge, receiver, entity)
    receiver.answer = 413
    before = time.time()
    cursors = await edge.numbers(entity, 12)

    async def noted(each: str) -> bool:
        return len(await attempts(edge, each)) == 12

    for each in (session, other):
        await eventually(lambda each=each: has_letters(edge, each, 12))
        await eventually(lambda each=each: noted(each))
    receiver.answer = 200

    await over(edge, await edge.http.post(f"/callbacks/sessions/{session}/recover", json={"since": before - 5}))
    await eventually(lambda: has_letters(edge, session, 0))
    await over(edge, await edge.http.post(f"/callbacks/sessions/{other}/replay", json={"cursor": cursors[3]}))

    # Those of events before it, and those of other sessions, stay.
    await eventually(lambda: has_letters(edge, other, 4))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "missing_field"),
        ({"event": "a", "delivery": "b"}, 422, "missing_field"),
        ({"event": "nobody knows"}, 404, "attempt_not_found"),
        ({"delivery": "f" * 32}, 404, "attempt_not_found"),
        ({"delivery": "x"}, 422, "bad_body"),
        ({"event": 7}, 422, "bad_body"),
        ({"event": "a", "idempotency_key": "\n"}, 422, "bad_body"),
        ({"nonsense": 1}, 422, "unknown_field"),
        ([], 422, "bad_body"),
    ],
    ids=str,
)
async def test_a_bad_resend_gets_a_clear_answer(
    edge: RunningEdge, receiver: Receiver, body: object, status: int, code: str
) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url=receiver.url)

    answer = await edge.http.post(f"/callbacks/sessions/{session}/resend", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_all_that_failed_since_a_time_is_sent_again_and_nothing_else(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await hook(edge, receiver, entity)
    await edge.numbers(entity, 2)
    await eventually(lambda: len(receiver.posts) == 2)
    receiver.answer = 500
    await edge.numbers(entity, 3, start=10)

    async def failed() -> bool:
        return len(await attempts(edge, session, "?result=fail")) == 3

    await eventually(failed)
    receiver.answer = 204
    receiver.posts.clear()
    base = f"/callbacks/sessions/{session}"

    done = await over(edge, await edge.http.post(f"{base}/recover", json={"since": time.time() - 3600}))
    await eventually(lambda: len(receiver.posts) == 3)

    assert sorted(numbers(receiver)) == [10, 11, 12]
    assert (done["state"], done["total"], done["sent"], done["skipped"]) == ("done", 3, 3, 0)
    schema = document()["components"]["schemas"]["Recovery"]
    assert set(done) == set(schema["properties"])

    async def made_good() -> bool:
        return len(await attempts(edge, session, "?result=ok")) == 5

    # Now that they are delivered, there is nothing to recover.
    await eventually(made_good)
    nothing = await over(edge, await edge.http.post(f"{base}/recover", json={"since": time.time() - 3600}))
    assert (nothing["state"], nothing["total"], nothing["sent"]) == ("done", 0, 0)
    assert [each["id"] for each in (await edge.http.get(f"{base}/recoveries")).json()["recoveries"]] == [
        nothing["id"],
        done["id"],
    ]


async def test_a_stretch_of_the_past_is_sent_again(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    cursors = await edge.numbers(entity, 10)
    session = await hook(edge, receiver, entity)

    done = await over(
        edge,
        await edge.http.post(
            f"/callbacks/sessions/{session}/replay",
            json={"cursor": cursors[2], "until_cursor": cursors[6], "rate": 500},
        ),
    )
    await eventually(lambda: len(receiver.posts) == 4)

    assert sorted(numbers(receiver)) == [3, 4, 5, 6]
    assert (done["kind"], done["state"], done["sent"], done["total"]) == ("replay", "done", 4, 4)


async def test_a_recovery_can_be_called_off(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    await edge.numbers(entity, 50)
    session = await hook(edge, receiver, entity)
    base = f"/callbacks/sessions/{session}"

    started = await edge.http.post(f"{base}/replay", json={"last": 50, "rate": 1})
    address = started.headers["location"]
    assert (await edge.http.delete(address)).status_code == 202
    done = await over(edge, started)
    again = await edge.http.delete(address)

    assert done["state"] == "cancelled" and done["sent"] < 50
    assert (again.status_code, again.json()["code"]) == (409, "recovery_ended")
    foreign = await hook(edge, receiver, entity)
    answer = await edge.http.get(f"/callbacks/sessions/{foreign}/recoveries/{done['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "recovery_not_found")


@pytest.mark.parametrize(
    ("way", "body", "status", "code"),
    [
        ("recover", {}, 422, "missing_field"),
        ("recover", {"since": "yesterday"}, 400, "bad_cursor"),
        ("recover", {"since": True}, 422, "bad_body"),
        ("recover", {"since": 100, "until": 50}, 422, "bad_body"),
        ("recover", {"since": 100, "rate": 0}, 422, "bad_body"),
        ("recover", {"since": 100, "rate": "fast"}, 422, "bad_body"),
        ("recover", {"since": 100, "nonsense": 1}, 422, "unknown_field"),
        ("replay", {}, 422, "missing_field"),
        ("replay", {"cursor": "nonsense"}, 400, "bad_cursor"),
        ("replay", {"cursor": 5}, 422, "bad_body"),
        ("replay", {"last": -1}, 400, "bad_cursor"),
        ("replay", {"last": "5"}, 422, "bad_body"),
        ("replay", {"last": 5, "since": 100}, 400, "bad_cursor"),
    ],
    ids=str,
)
async def test_a_bad_order_gets_a_clear_answer_and_makes_nothing(
    edge: RunningEdge, receiver: Receiver, way: str, body: object, status: int, code: str
) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url=receiver.url)

    answer = await edge.http.post(f"/callbacks/sessions/{session}/{way}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await edge.http.get(f"/callbacks/sessions/{session}/recoveries")).json() == {"recoveries": []}


async def test_an_endpoint_is_disabled_and_enabled_over_http(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await hook(edge, receiver, entity)
    base = f"/callbacks/sessions/{session}"

    disabled = (await edge.http.post(f"{base}/disable", json={"reason": "moving house"})).json()
    await edge.numbers(entity, 2)
    assert (disabled["state"], disabled["reason"]) == ("disabled", "moving house")

    async def waiting() -> bool:
        return bool((await edge.http.get(f"{base}/health")).json()["waiting_events"] == 2)

    await eventually(waiting)
    assert receiver.posts == []
    enabled = (await edge.http.post(f"{base}/enable")).json()
    await eventually(lambda: len(receiver.posts) == 2)

    assert enabled["state"] == "closed"
    assert set(enabled) == set(document()["components"]["schemas"]["Health"]["properties"])
    for way, body in (("disable", {"reason": ""}), ("disable", {"reason": "a\nb"}), ("disable", {"why": "x"})):
        answer = await edge.http.post(f"{base}/{way}", json=body)
        assert answer.status_code == 422


async def test_no_more_than_a_few_recoveries_of_a_session_are_under_way(stage: Stage, receiver: Receiver) -> None:
    process = await stage.process()
    session = await stage.session(receiver.url)
    recoveries = Recoveries(stage.broker, process.registry, 2, QUICK)
    start = parse_start("earliest")
    assert start is not None
    # More than one replay sends within the test, at one event a second.
    await stage.publish("agent.run-1.progress", 1000)
    running = asyncio.ensure_future(recoveries.run())
    try:
        for _ in range(4):
            await recoveries.replay(session, start, None, 1.0)

        with pytest.raises(Problem) as refused:
            await recoveries.replay(session, start, None, 1.0)

        assert refused.value.code == "too_many_recoveries"
        assert len(await recoveries.of(session.id)) == 4
    finally:
        running.cancel()
        await asyncio.wait({running})
