"""The handlers of a webhook's endpoint: secrets are shown once and rotated; only a webhook has an endpoint."""

from __future__ import annotations

import pytest
from standardwebhooks.webhooks import Webhook

from edge.sessions.endpoint.secret import new_secret
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually


async def test_a_secret_is_shown_once_and_rotated_with_an_overlap(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    made = (
        await edge.http.post(
            "/callbacks/sessions",
            json={"delivery_method": "webhook", "webhook_url": receiver.url, "subjects": [f"job.{entity}.>"]},
        )
    ).json()
    base = f"/callbacks/sessions/{made['session_id']}"
    own = new_secret()

    rotated = (await edge.http.post(f"{base}/secret/rotate", json={"overlap": 3600})).json()
    twice = (await edge.http.post(f"{base}/secret/rotate", json={"secret": own})).json()
    shown = (await edge.http.get(base)).json()
    refused = await edge.http.post(f"{base}/secret/rotate", json={"secret": "geheim"})

    assert made["webhook_secret"] != rotated["webhook_secret"] and twice["webhook_secret"] == own
    assert len(shown["old_secrets_until"]) == 2 and "webhook_secret" not in shown
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_webhook")
    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 1)
    (post,) = receiver.posts
    for secret in (own, rotated["webhook_secret"], made["webhook_secret"]):
        Webhook(secret).verify(post.body, post.headers)


async def test_only_a_webhook_session_has_an_endpoint(edge: RunningEdge) -> None:
    session = await edge.session()
    for method, path in (
        ("GET", "attempts"), ("POST", "resend"), ("POST", "recover"), ("POST", "replay"), ("GET", "recoveries"),
        ("GET", "health"), ("POST", "enable"), ("POST", "disable"), ("POST", "secret/rotate"), ("POST", "verify"),
    ):  # fmt: skip
        answer = await edge.http.request(method, f"/callbacks/sessions/{session}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_a_webhook"), path


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "field"),
    [
        ("resend", {}, 422, "missing_field", "event"),
        ("resend", {"event": "e", "delivery": "d"}, 422, "missing_field", "event"),
        ("resend", {"delivery": "d"}, 422, "bad_body", "delivery"),
        ("resend", {"event": "nobody"}, 404, "attempt_not_found", None),
        ("recover", {}, 422, "missing_field", "since"),
        ("recover", {"since": 20, "until": 10}, 422, "bad_body", "until"),
        ("replay", {"rate": 5}, 422, "missing_field", "cursor"),
        ("disable", {"reason": "a\nb"}, 422, "bad_body", "reason"),
        ("enable", {"reason": "a"}, 422, "unknown_field", "reason"),
    ],
    ids=str,
)
async def test_a_bad_request_about_an_endpoint_is_refused_by_field(
    edge: RunningEdge, path: str, body: dict[str, object], status: int, code: str, field: str | None
) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/")

    answer = await edge.http.post(f"/callbacks/sessions/{session}/{path}", json=body)

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)
