"""A receiver shows that it wants to be posted to: by a test event, or by its answer to OPTIONS; before that it gets nothing."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from edge.webhooks.endpoint.verification import consent_of
from edge.webhooks.queue.job import PARTITIONS
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually


async def made(edge: RunningEdge, receiver: Receiver, entity: str, **more: Any) -> dict[str, Any]:
    body = {"delivery_method": "webhook", "webhook_url": receiver.url, "subjects": [f"job.{entity}.>"], **more}
    answer = await edge.http.post("/callbacks/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_a_receiver_that_answers_the_test_event_is_active_at_once(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await made(edge, receiver, entity, verify="post")

    assert session["state"] == "active" and session["verification"] == {
        "ok": True, "error": None, "detail": None, "status": 204,
    }  # fmt: skip
    (post,) = receiver.posts
    said = Webhook(session["webhook_secret"]).verify(post.body, post.headers)
    assert (said["event_type"], said["test"]) == ("verification", True)
    assert said["session_id"] == session["session_id"]


async def test_a_receiver_that_does_not_agree_is_sent_nothing_until_it_does(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    receiver.answer = 403
    session = await made(edge, receiver, entity, verify="post")
    assert session["state"] == "pending"
    assert session["verification"]["error"] == "rejected" and session["verification"]["status"] == 403
    await edge.numbers(entity, 3)
    base = f"/callbacks/sessions/{session['session_id']}"
    # The events wait, and none is posted.
    await eventually(lambda: _waiting(edge, session["session_id"], 3))
    assert len(receiver.posts) == 1
    health = (await edge.http.get(f"{base}/health")).json()
    assert health["active"] is False
    assert 0 <= health["partition"] < PARTITIONS and isinstance(health["partition_owned"], bool)

    receiver.answer = 204
    again = (await edge.http.post(f"{base}/verify")).json()

    assert again["state"] == "active" and again["verification"]["ok"] is True
    assert "webhook_secret" not in again
    await eventually(lambda: len(receiver.posts) == 5)

    async def noted() -> bool:
        attempts = (await edge.http.get(f"{base}/attempts?result=fail")).json()["attempts"]
        return [attempt["trigger"] for attempt in attempts] == ["verification"]

    await eventually(noted)


async def _waiting(edge: RunningEdge, session: str, count: int) -> bool:
    health = (await edge.http.get(f"/callbacks/sessions/{session}/health")).json()
    return int(health["waiting_events"]) == count


async def test_a_new_address_must_agree_anew_and_another_change_need_not(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await made(edge, receiver, entity, verify="post")
    base = f"/callbacks/sessions/{session['session_id']}"

    renamed = (await edge.http.patch(base, json={"name": "other", "timeout": 7})).json()
    assert (renamed["state"], len(receiver.posts)) == ("active", 1)
    receiver.answer = 500
    moved = (await edge.http.patch(base, json={"webhook_url": receiver.url + "/new"})).json()

    assert moved["state"] == "pending" and moved["verification"]["error"] == "server_error"
    assert len(receiver.posts) == 2


async def test_consent_by_options_lets_a_session_begin_at_the_rate_that_is_allowed(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method != "OPTIONS":
            return web.Response(status=204)
        asked.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(
            headers={
                "WebHook-Allowed-Origin": request.headers["WebHook-Request-Origin"],
                "WebHook-Allowed-Rate": "120",
            }
        )

    receiver.answer = answer
    session = await made(edge, receiver, entity, verify="options", rate=5)

    assert session["state"] == "active"
    assert (session["rate"], session["allowed_rate"]) == (5, 2)
    assert asked[0]["webhook-request-origin"] == "callboard" and asked[0]["webhook-request-rate"] == "300"
    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 2)
    # Every post says who it is from.
    assert receiver.posts[1].headers["webhook-request-origin"] == "callboard"


async def test_an_answer_without_consent_leaves_a_session_pending(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    session = await made(edge, receiver, entity, verify="options")

    assert session["state"] == "pending" and session["verification"]["error"] == "no_consent"


@pytest.mark.parametrize(
    ("headers", "agreed", "rate"),
    [
        ({"WebHook-Allowed-Origin": "callboard"}, True, None),
        ({"WebHook-Allowed-Origin": "CALLBOARD", "WebHook-Allowed-Rate": "*"}, True, None),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "30"}, True, 0.5),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "0"}, False, None),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "-3"}, False, None),
        ({"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "9" * 400}, False, None),
        ({"WebHook-Allowed-Origin": "evil.example"}, False, None),
        ({"WebHook-Allowed-Rate": "30"}, False, None),
    ],
    ids=str,
)
def test_consent_is_read_strictly(headers: dict[str, str], agreed: bool, rate: float | None) -> None:
    consent = consent_of(200, headers, "callboard")

    assert (consent.agreed, consent.rate) == (agreed, rate)
    assert agreed or consent.error == "no_consent"
