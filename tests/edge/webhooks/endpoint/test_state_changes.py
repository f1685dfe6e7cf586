"""The operational events of webhooks: what they say of destination, answer and event, and who gets them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from edge.sessions.endpoint.settings import BatchSettings
from edge.sessions.registry import Session
from edge.webhooks.endpoint.breaker import CircuitBreakerSettings
from edge.webhooks.endpoint.state_changes import DELIVERY_KINDS, ENDPOINT_KINDS
from tests.edge.webhooks.stage import QUICK, Receiver, Stage
from tests.waiting import eventually

# No breaker comes between the attempts.
CALM = replace(
    QUICK,
    worker=replace(QUICK.worker, schedule=(0.05,), breaker=CircuitBreakerSettings(failures=1000, min_attempts=1000)),
)


async def announced(stage: Stage, session: Session, *kinds: str) -> list[dict[str, Any]]:
    """The data of the events of some kinds about a session, oldest first."""
    records = (await stage.broker.read("system.webhook.>", 0)).records
    events = [record.event for record in records if record.event is not None]
    return [
        event.data for event in events if event.data["session_id"] == session.id and (not kinds or event.type in kinds)
    ]


async def types(stage: Stage, session: Session) -> list[str]:
    records = (await stage.broker.read("system.webhook.>", 0)).records
    return [e.type for record in records if (e := record.event) and e.data["session_id"] == session.id]


async def test_a_delivery_that_is_given_up_is_told_with_destination_answer_and_event(stage: Stage, receiver: Receiver):
    process = await stage.process(CALM)
    url = f"{receiver.url}?token=geheim"
    session = await stage.session(url, retry_attempts=1, name="billing", subjects=["agent.>"])
    receiver.answer = 500

    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (data,) = await announced(stage, session, "deadlettered")
    assert (data["name"], data["destination"], data["attempts"]) == ("billing", receiver.url, 2)
    assert data["answer"].pop("seconds") >= 0
    assert data["answer"] == {"status": 500, "error": "server_error", "detail": None, "retry_after": None}
    event = data["event"]
    assert (event["id"], event["type"], event["subject"]) == (event_id, "progress", "agent.run-1.progress")
    assert (event["attempt"], event["webhook_id"]) == (2, receiver.posts[0].headers["webhook-id"])
    (record,) = (await stage.broker.read("agent.>", 0)).records
    assert int(event["cursor"].split("-")[2]) == record.sequence
    assert "geheim" not in json.dumps(data)


async def test_a_delivery_that_goes_on_failing_is_told_before_it_is_given_up_and_when_it_was_made_after_all(
    stage: Stage, receiver: Receiver
):
    process = await stage.process(CALM)
    session = await stage.session(receiver.url, retry_attempts=5, subjects=["agent.>"])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=500 if len(receiver.posts) < 5 else 200)

    receiver.answer = answer
    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    async def both() -> bool:
        return await types(stage, session) == ["attempt_failing", "attempt_recovered"]

    await eventually(both)
    failing, recovered = await announced(stage, session)
    (error,) = (await stage.broker.read("system.delivery.>", 0)).records
    assert error.event is not None and error.event.type == "error"
    assert (error.event.data["error_type"], error.event.data["retry_count"]) == ("server_error", 2)
    assert error.event.data["recoverable"] is True and receiver.url in error.event.data["error"]
    assert (failing["attempts"], failing["answer"]["status"], failing["event"]["id"]) == (3, 500, event_id)
    assert (recovered["attempts"], recovered["answer"]["status"], recovered["event"]["id"]) == (5, 200, event_id)


async def test_a_batch_that_goes_on_failing_is_told_once(stage: Stage, receiver: Receiver):
    process = await stage.process(CALM)
    batch = BatchSettings(max_n=4, linger=600.0)
    session = await stage.session(receiver.url, retry_attempts=3, subjects=["agent.>"], batch=batch)
    receiver.answer = 503

    ids = await stage.publish("agent.run-1.progress", 4)

    await eventually(lambda: process.webhooks.stats(session.id).failed == 4)

    async def all_told() -> bool:
        return len(await announced(stage, session)) == 5

    await eventually(all_told)
    (failing,) = await announced(stage, session, "attempt_failing")
    assert (failing["event"]["events"], failing["event"]["id"] in ids) == (4, True)
    assert sorted(data["event"]["id"] for data in await announced(stage, session, "deadlettered")) == sorted(ids)


async def test_an_endpoint_that_changes_is_told_with_what_changed_it(stage: Stage, receiver: Receiver):
    process = await stage.process(replace(QUICK, worker=replace(QUICK.worker, schedule=(0.05,))))
    session = await stage.session(receiver.url, retry_attempts=20, subjects=["agent.>"], concurrency=1)
    receiver.answer = 502
    (event_id,) = await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.health(session.id)["state"] == "open")

    receiver.answer = 200
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    receiver.answer = 410
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.health(session.id)["state"] == "disabled")
    await process.webhooks.enable(session.id)

    async def enabled() -> bool:
        return bool(await announced(stage, session, "enabled"))

    await eventually(enabled)
    (opened,) = await announced(stage, session, "opened")
    assert (opened["destination"], opened["state"], opened["until"] is not None) == (receiver.url, "open", True)
    assert (opened["answer"]["status"], opened["event"]["id"], opened["failures"]) == (502, event_id, 5)
    (recovered,) = await announced(stage, session, "recovered")
    assert (recovered["state"], recovered["answer"]["status"]) == ("closed", 200)
    (disabled,) = await announced(stage, session, "disabled")
    assert (disabled["reason"], disabled["answer"]["status"]) == ("gone", 410)
    (again,) = await announced(stage, session, "enabled")
    assert (again["destination"], again["answer"], again["event"]) == (receiver.url, None, None)
    assert set(await types(stage, session)) <= {*ENDPOINT_KINDS, *DELIVERY_KINDS}


async def test_another_webhook_can_subscribe_to_them_and_none_is_made_about_one(stage: Stage, receiver: Receiver):
    process = await stage.process(CALM)
    session = await stage.session("http://127.0.0.1:9/", retry_attempts=4, subjects=["agent.>"])
    watcher = await stage.session(receiver.url, subjects=["system.webhook.>"], retry_attempts=20)
    kinds: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        if len(receiver.posts) < 5:
            return web.Response(status=500)
        kinds.append(said["event_type"])
        assert said["data"]["destination"] == "http://127.0.0.1:9/"
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: sorted(kinds) == ["attempt_failing", "deadlettered"])
    await eventually(lambda: process.webhooks.stats(watcher.id).delivered == 2)
    assert await announced(stage, watcher) == []
    assert session.id != watcher.id
