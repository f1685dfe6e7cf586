from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from standardwebhooks.webhooks import Webhook

from edge.sessions.endpoint.settings import Batch
from edge.sessions.registry import Session
from edge.webhooks.history.attempt import Attempt
from edge.webhooks.history.attempts import Attempts
from edge.webhooks.queue.job import Job, partition_of
from edge.webhooks.queue.ordering import QueueSettings
from router.broker import Broker
from router.deadletter import DeadLetter, webhook_subject
from router.deadletters import DeadLetters
from router.event import Event
from router.record import Record
from router.topology import DEADLETTERS, HOOKS, RETRIES
from tests.edge.webhooks.stage import QUICK, Receiver, Stage, mortal
from tests.servers import Authority
from tests.waiting import PATIENCE, eventually


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(post.body) for post in receiver.posts]


async def dead(broker: Broker, session: Session) -> list[DeadLetter]:
    return (await DeadLetters(broker).read(pattern=webhook_subject(session.id))).deadletters


async def system_events(broker: Broker) -> list[Record]:
    return (await broker.read("system.webhook.>", 0)).records


async def nothing_left(broker: Broker) -> bool:
    """Whether no job and no retry is left anywhere."""
    left = [(await broker.connection.api(f"STREAM.INFO.{stream}"))["state"]["messages"] for stream in (HOOKS, RETRIES)]
    return left == [0, 0]


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


async def test_every_event_of_a_burst_arrives_once(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    ids = await stage.publish("agent.run-1.progress", 100)

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 100)
    assert sorted(body["id"] for body in bodies(receiver)) == sorted(ids)
    assert receiver.most_under_way <= 8


async def test_events_of_two_publishers_with_one_id_are_both_delivered(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    for source in ("alice", "bob"):
        await stage.broker.publish(Event.new("agent.run-1.completed", {"by": source}, source=source, id="1"))

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 2)
    assert {body["data"]["by"] for body in bodies(receiver)} == {"alice", "bob"}
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 2


async def test_dead_letters_of_two_publishers_with_one_id_are_both_kept(stage: Stage, receiver: Receiver):
    await stage.process()
    session = await stage.session(receiver.url)
    receiver.answer = 400

    for source in ("alice", "bob"):
        await stage.broker.publish(Event.new("agent.run-1.completed", {"by": source}, source=source, id="1"))

    letters = DeadLetters(stage.broker)

    async def kept() -> bool:
        return len((await letters.read(pattern=f"dead.webhook.{session.id}")).deadletters) == 2

    await eventually(kept)


async def test_two_processes_share_the_work_and_repeat_none(stage: Stage, receiver: Receiver):
    first, second = await stage.process(), await stage.process()
    await stage.settled()
    session = await stage.session(receiver.url)

    ids = await stage.publish("agent.run-1.progress", 45)

    both = (first.webhooks, second.webhooks)
    await eventually(lambda: sum(each.stats(session.id).delivered for each in both) == 45)
    assert sorted(body["id"] for body in bodies(receiver)) == sorted(ids)
    await eventually(lambda: sum(each.stats(session.id).queued for each in both) == 0)


async def test_a_failure_is_tried_again_under_the_same_webhook_id(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503 if len(receiver.posts) < 3 else 200)

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert len({post.body for post in receiver.posts}) == 1
    stats = process.webhooks.stats(session.id)
    assert (len(receiver.posts), stats.retries, stats.sent) == (3, 2, 1)
    assert stats.last_error == "server_error (HTTP 503)"
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_retry_waits_as_long_as_the_receiver_asked(stage: Stage, receiver: Receiver):
    await stage.process()
    await stage.session(receiver.url)
    times: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        return web.Response(status=200) if len(times) > 1 else web.Response(status=429, headers={"Retry-After": "1"})

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    await eventually(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.99


@pytest.mark.parametrize(("status", "reason"), [(410, "gone"), (413, "payload_too_large"), (415, "unsupported_type")])
async def test_a_final_answer_becomes_a_dead_letter_at_once(stage: Stage, receiver: Receiver, status: int, reason: str):
    process = await stage.process()
    session = await stage.session(receiver.url + "?token=geheim")
    receiver.answer = status

    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert (letter.reason, letter.attempts, letter.source) == (reason, 1, session.id)
    assert letter.destination == receiver.url
    assert letter.origin.subject == "ev.agent.run-1.progress"
    event = Record(0, "", letter.payload).event
    assert event is not None and event.id == event_id
    assert len(receiver.posts) == 1
    await eventually(lambda: nothing_left(stage.broker))


async def test_after_the_last_retry_comes_a_dead_letter_and_an_event_that_says_so(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=2, subjects=["agent.>"])
    receiver.answer = 500

    (event_id,) = await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert (letter.reason, letter.attempts, len(receiver.posts)) == ("exhausted", 3, 3)
    (record,) = await system_events(stage.broker)
    assert record.subject == "system.webhook.deadlettered" and record.event is not None
    assert record.event.cause == event_id
    assert {
        "session_id": session.id,
        "event_id": event_id,
        "subject": "agent.run-1.progress",
        "reason": "exhausted",
        "attempts": 3,
        "status": 500,
    }.items() <= record.event.data.items()
    await eventually(lambda: nothing_left(stage.broker))


async def test_with_no_retries_one_failure_is_the_end(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert len(receiver.posts) == 1


async def test_the_news_of_a_failure_goes_to_others_and_of_its_own_failure_there_is_no_news(
    stage: Stage, receiver: Receiver
):
    process = await stage.process()
    # Both see everything, and neither can be reached.
    one, other = [await stage.session(receiver.url, retry_attempts=0) for _ in range(2)]
    receiver.answer = 413

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: all(process.webhooks.stats(each.id).failed == 2 for each in (one, other)))
    await eventually(lambda: nothing_left(stage.broker))
    told = [record.event.data["session_id"] for record in await system_events(stage.broker) if record.event]
    assert sorted(told) == sorted([one.id, other.id])
    assert sorted(body["event_type"] for body in bodies(receiver)) == ["deadlettered"] * 2 + ["progress"] * 2


async def test_a_private_address_is_a_dead_letter_and_is_never_reached(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session("http://169.254.169.254/latest/meta-data/")

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert letter.reason == "ssrf_blocked"


async def test_the_text_of_a_tls_failure_is_in_its_attempt_and_its_letter(stage: Stage, tmp_path: Path):
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


async def test_a_process_that_dies_while_it_posts_loses_nothing(stage: Stage, receiver: Receiver):
    first = await stage.process(mortal(QUICK))
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    (event_id,) = await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    await first.die()
    stage.processes.remove(first)
    release.set()
    second = await stage.process(mortal(QUICK))

    await eventually(lambda: second.webhooks.stats(session.id).delivered == 1)
    assert {post.headers["webhook-id"] for post in receiver.posts} == {receiver.posts[0].headers["webhook-id"]}
    assert [body["id"] for body in bodies(receiver)] == [event_id, event_id]
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_process_that_closes_finishes_its_posts(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    closing = asyncio.ensure_future(process.webhooks.close(grace=PATIENCE))
    await eventually(lambda: not process.webhooks.fanout.owner)
    release.set()
    await asyncio.wait_for(closing, PATIENCE)

    assert process.webhooks.stats(session.id).delivered == 1
    assert await nothing_left(stage.broker)


async def test_what_does_not_end_within_the_grace_is_given_back_at_once(stage: Stage, receiver: Receiver):
    patient = replace(QUICK, worker=replace(QUICK.worker, ack_wait=600.0))
    first = await stage.process(patient)
    session = await stage.session(receiver.url)
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)

    await asyncio.wait_for(first.webhooks.close(grace=0.1), PATIENCE)
    release.set()
    second = await stage.process(patient)

    await eventually(lambda: second.webhooks.stats(session.id).delivered == 1)
    assert first.webhooks.stats(session.id).delivered == 0


@pytest.mark.slow
async def test_a_long_post_is_not_given_to_another_process(stage: Stage, receiver: Receiver):
    settings = replace(QUICK, worker=replace(QUICK.worker, ack_wait=15.0))
    first, second = await stage.process(settings), await stage.process(settings)
    await stage.settled()
    session = await stage.session(receiver.url)

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(settings.worker.ack_wait * 1.5)
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")

    both = (first.webhooks, second.webhooks)
    await eventually(lambda: sum(each.stats(session.id).delivered for each in both) == 1)
    assert len(receiver.posts) == 1


async def test_a_receiver_that_hangs_does_not_hold_up_another(stage: Stage, receiver: Receiver):
    queue = QueueSettings(waiting=2, pressed=1)
    settings = replace(QUICK, partitions=1, worker=replace(QUICK.worker, credit=16, queue=queue))
    process = await stage.process(settings)
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with Receiver().serving() as hanging:
        hanging.answer = hang
        # Far longer than the test may last: none of its posts ends, so nothing that it holds becomes free.
        blocked = await stage.session(hanging.url, timeout=600.0, retry_attempts=20, events=["progress"])
        await stage.publish("agent.run-1.progress", 40)
        await eventually(lambda: hanging.under_way)
        well = await stage.session(receiver.url, events=["completed"])

        await stage.publish("agent.run-1.completed", 20)

        await eventually(lambda: process.webhooks.stats(well.id).delivered == 20)
        assert process.webhooks.stats(blocked.id).delivered == 0
        assert hanging.most_under_way <= 8
        # And when it answers again, all it is owed arrives.
        released.set()
        await eventually(lambda: process.webhooks.stats(blocked.id).delivered == 40)
    await eventually(lambda: nothing_left(stage.broker))


async def test_the_jobs_of_a_deleted_session_are_dropped(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=100)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: len(receiver.posts) >= 5)

    await process.registry.delete(session.id)

    await eventually(lambda: nothing_left(stage.broker))
    assert await dead(stage.broker, session) == []


async def test_what_lies_among_the_jobs_and_is_none_is_thrown_away(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)

    await stage.broker.store(f"hook.q.0.{session.id}", b"?", {"Nats-Msg-Id": "a"})
    await stage.broker.store(
        f"hook.q.0.{session.id}",
        b"?",
        {"Nats-Msg-Id": "b", "X-Event": "b", "X-Subject": "a.b.c", "X-Sequence": "1", "X-Queued": str(time.time_ns())},
    )

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    (letter,) = await dead(stage.broker, session)
    assert letter.reason == "decode_error"
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_job_that_is_handed_out_again_while_it_is_posted_is_not_posted_twice(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    opened = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await opened.wait()
        return web.Response()

    receiver.answer = answer
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.under_way == 1)
    (held,) = [held for worker in process.webhooks._workers() for held in worker.in_hand]
    first = held.message
    await first.nak()
    await eventually(lambda: held.message is not first)
    opened.set()

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)
    await eventually(lambda: nothing_left(stage.broker))
    assert len(receiver.posts) == 1


async def test_the_store_being_away_loses_no_outcome(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500
    await stage.broker.connection.api(f"STREAM.DELETE.{DEADLETTERS}")

    await stage.publish("agent.run-1.progress")
    await eventually(lambda: receiver.posts)
    await stage.broker._reapply()

    await eventually(lambda: process.webhooks.stats(session.id).failed == 1)
    assert len(await dead(stage.broker, session)) == 1


async def test_each_attempt_is_noted_with_what_it_came_to_and_what_follows(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    statuses = iter((500, 503, 200))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=next(statuses), text="said")

    receiver.answer = answer
    (event_id,) = await stage.publish("agent.run-1.progress")
    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    async def noted() -> list[Attempt] | None:
        delivery = await Attempts(stage.broker).delivery_of(session.id, event_id)
        found = await Attempts(stage.broker).of(session.id, delivery) if delivery else []
        return found if len(found) == 3 else None

    attempts = await eventually(noted)
    assert [(each.attempt, each.status, each.ok, bool(each.next)) for each in attempts] == [
        (1, 500, False, True),
        (2, 503, False, True),
        (3, 200, True, False),
    ]
    first = attempts[0]
    assert (first.event, first.subject, first.trigger, first.head) == (
        event_id,
        "agent.run-1.progress",
        "auto",
        b"said",
    )
    assert first.destination == receiver.url and first.address == "127.0.0.1"
    assert first.timing is not None and first.timing.total > 0


async def test_what_is_no_job_becomes_a_dead_letter_and_stops_nobody(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url)
    rubbish = f"hook.q.{partition_of(session.id, QUICK.partitions)}.{session.id}"
    await stage.broker.store(rubbish, b"rubbish", {})

    await stage.publish("agent.run-1.progress")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 1)

    async def buried() -> list[DeadLetter]:
        return (await DeadLetters(stage.broker).read(pattern="dead.ingest.>")).deadletters

    (letter,) = await eventually(buried)
    assert (letter.reason, letter.payload, letter.origin.subject) == ("not_a_job", b"rubbish", rubbish)
    await eventually(lambda: nothing_left(stage.broker))


async def test_a_delivery_that_is_asked_for_again_keeps_the_sums_true(stage: Stage, receiver: Receiver):
    process = await stage.process()
    session = await stage.session(receiver.url, retry_attempts=0)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress")
    stats = process.webhooks.stats(session.id)
    await eventually(lambda: stats.failed == 1)
    (record,) = (await stage.broker.read("agent.>", 0)).records
    receiver.answer = 200

    again = Job.again(session.id, record.payload, record.subject, record.sequence, unique="x", partitions=2)
    await stage.broker.store(*again)

    await eventually(lambda: stats.delivered == 1)
    assert (stats.sent, stats.failed, stats.queued) == (2, 1, 0)


async def test_cloudevents_are_posted_in_both_modes_of_the_http_binding(stage: Stage, receiver: Receiver):
    await stage.process()
    sessions = {
        kind: await stage.session(receiver.url, dialect=dialect, batch=batch)
        for kind, dialect, batch in (
            ("structured", "cloudevents", None),
            ("binary", "cloudevents-binary", None),
            ("batched", "cloudevents", Batch(max_n=2, linger=0.1)),
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


async def test_an_endpoint_that_is_quick_is_spared_the_log(stage: Stage, receiver: Receiver):
    # What was delivered is acknowledged a moment later, and until then is among the waiting.
    await stage.widen(1000)
    queue = QueueSettings(waiting=2, quick=64, pressed=2)
    process = await stage.process(replace(QUICK, worker=replace(QUICK.worker, queue=queue)))
    # With 32 places even an endpoint that needs most of a second is quick, and eight of each burst have to wait.
    session = await stage.session(receiver.url, concurrency=32)
    stats = process.webhooks.stats(session.id)
    await stage.publish("agent.run-1.progress")
    await eventually(lambda: stats.delivered == 1)
    before = REGISTRY.get_sample_value("edge_webhook_jobs_total", {"event": "parked"})

    for burst in range(1, 5):
        await asyncio.gather(*(stage.publish("agent.run-1.progress") for _ in range(40)))
        await eventually(lambda burst=burst: stats.delivered == 1 + 40 * burst)

    assert REGISTRY.get_sample_value("edge_webhook_jobs_total", {"event": "parked"}) == before
