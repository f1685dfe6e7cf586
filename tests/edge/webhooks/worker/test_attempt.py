"""Tests of edge/webhooks/worker/attempt.py: what is posted, and what an attempt comes to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from edge.sessions.endpoint.settings import BatchSettings
from edge.webhooks.history.attempts import Attempts
from router.event import Event
from tests.edge.webhooks.observing import bodies, dead, nothing_left
from tests.edge.webhooks.stage import Receiver, Stage
from tests.servers import Authority
from tests.waiting import eventually


async def test_an_event_is_posted_in_the_callback_shape_and_signed(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, headers={"Authorization": "Bearer token"})

    (event_id,) = await stage.publish("agent.run-1.progress", message="half way")

    await eventually(lambda: receiver.posts)
    post = receiver.posts[0]
    body = json.loads(post.body)
    assert session.spec.webhook is not None
    assert Webhook(session.spec.webhook.secret).verify(post.body, post.headers) == body
    assert (body["id"], body["event_type"], body["subject"]) == (event_id, "progress", "agent.run-1.progress")
    assert body["data"]["message"] == "half way"
    assert body["session_id"] == session.id == post.headers["x-callboard-session"]
    assert {"source", "timestamp", "cursor"} <= set(body)
    assert post.headers["authorization"] == "Bearer token"
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    stats = process.webhooks.stats(session.id)
    assert (stats.sent, stats.failed, stats.queued) == (1, 0, 0)
    await eventually(lambda: nothing_left(stage.broker))


async def test_events_of_two_publishers_with_one_id_are_both_delivered(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    for source in ("alice", "bob"):
        await stage.broker.publish(Event.new("agent.run-1.completed", {"by": source}, source=source, id="1"))

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 2)
    assert {body["data"]["by"] for body in bodies(receiver)} == {"alice", "bob"}
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 2


async def test_a_private_address_is_a_dead_letter_and_is_never_reached(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session("http://169.254.169.254/latest/meta-data/")

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert letter.reason == "ssrf_blocked"


async def test_the_text_of_a_tls_failure_is_in_its_attempt_and_its_dead_letter(stage: Stage, tmp_path: Path):
    receiver = Receiver()
    receiver.use_tls(Authority(tmp_path).issue("receiver", "127.0.0.1"))
    async with receiver.serving():
        process = await stage.process()
        session = await stage.session(receiver.url, retry_attempts=0)

        await stage.publish("agent.run-1.progress")

        await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    await process.webhooks.attempts.flushed()
    ((attempt,), _) = await Attempts(stage.broker).page(session.id)
    assert "tls: certificate verify failed: unable to get local issuer certificate" in letter.detail
    assert attempt.note == "certificate verify failed: unable to get local issuer certificate"


async def test_a_200_with_a_slow_body_is_delivered_once(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, timeout=60.0)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    await eventually(lambda: nothing_left(stage.broker))
    assert len(receiver.posts) == 1


async def test_cloudevents_are_posted_in_both_modes_of_the_http_binding(stage: Stage, receiver: Receiver):
    await stage.process()
    sessions = {
        kind: await stage.session(receiver.url, dialect=dialect, batch=batch)
        for kind, dialect, batch in (
            ("structured", "cloudevents", None),
            ("binary", "cloudevents-binary", None),
            ("batched", "cloudevents", BatchSettings(max_n=2, linger=0.1)),
        )
    }

    (event_id,) = await stage.publish("agent.run-1.progress", message="half way")

    await eventually(lambda: len(receiver.posts) == 3)
    posts = {post.headers["x-callboard-session"]: post for post in receiver.posts}
    structured, binary, batched = (posts[sessions[kind].id] for kind in ("structured", "binary", "batched"))
    said = json.loads(structured.body)
    assert structured.headers["content-type"].startswith("application/cloudevents+json")
    assert (said["specversion"], said["id"], said["data"]["message"]) == ("1.0", event_id, "half way")
    assert said["callboardsession"] == sessions["structured"].id
    assert (binary.headers["ce-id"], binary.headers["ce-specversion"]) == (event_id, "1.0")
    assert json.loads(binary.body)["message"] == "half way"
    assert batched.headers["content-type"].startswith("application/cloudevents-batch+json")
    assert [each["id"] for each in json.loads(batched.body)] == [event_id]
