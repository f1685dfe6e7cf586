"""The test endpoint of a webhook session: what it posts, and that it says what became of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.http.session_test import data_for
from router.catalogue import all_types, check
from router.nats.embedded import free_port
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually


async def tried(edge: RunningEdge, session: str, query: str = "?wait=60", **body: Any) -> dict[str, Any]:
    answer = await edge.http.post(f"/callbacks/sessions/{session}/test{query}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_who_waits_is_told_the_attempt(edge: RunningEdge, receiver: Receiver):
    session = await edge.session(subjects=None, delivery_method="webhook", webhook_url=receiver.url)

    said = await tried(edge, session)

    assert (said["status"], said["success"], said["endpoint"]) == ("delivered", True, "closed")
    assert (said["attempt"]["event"], said["attempt"]["status"]) == (said["event_id"], 204)
    assert json.loads(receiver.posts[0].body)["test"] is True


@pytest.mark.parametrize("status", [500, 0])
async def test_a_dead_endpoint_is_no_success(edge: RunningEdge, receiver: Receiver, status: int):
    receiver.answer = status
    url = receiver.url if status else f"http://127.0.0.1:{free_port()}/"
    session = await edge.session(subjects=None, delivery_method="webhook", webhook_url=url, retry_attempts=20)

    said = await tried(edge, session)

    assert (said["status"], said["success"]) == ("failed", False)
    assert (said["attempt"]["status"], said["attempt"]["error"]) == (
        (500, "server_error") if status else (None, "refused")
    )
    assert said["attempt"]["next_attempt_at"]


async def test_who_does_not_wait_is_not_told_of_a_success_that_is_not_known(edge: RunningEdge, receiver: Receiver):
    session = await edge.session(subjects=None, delivery_method="webhook", webhook_url=receiver.url)

    said = await tried(edge, session, query="")

    assert (said["status"], said["success"], said["attempt"]) == ("published", None, None)
    await eventually(lambda: receiver.posts)


async def test_an_answer_that_does_not_come_in_time_is_not_known_yet(edge: RunningEdge, receiver: Receiver):
    session = await edge.session(
        subjects=None, delivery_method="webhook", webhook_url=receiver.url, batch={"linger": 60, "max_n": 9}
    )

    said = await tried(edge, session, query="?wait=0.2")

    assert (said["status"], said["success"], said["attempt"]) == ("published", None, None)


async def test_an_endpoint_that_gets_nothing_is_said_at_once(edge: RunningEdge, receiver: Receiver):
    session = await edge.session(subjects=None, delivery_method="webhook", webhook_url=receiver.url)
    await edge.http.post(f"/callbacks/sessions/{session}/disable", json={})
    receiver.answer = 500
    silent = await edge.session(subjects=None, delivery_method="webhook", webhook_url=receiver.url, verify="post")
    receiver.posts.clear()

    disabled, pending = await tried(edge, session, query=""), await tried(edge, silent)

    assert (disabled["status"], disabled["success"], disabled["endpoint"]) == ("held", False, "disabled")
    assert (pending["status"], pending["success"], pending["endpoint"]) == ("held", False, "pending")
    assert receiver.posts == []


async def test_only_a_webhook_can_be_waited_for_and_not_for_long(edge: RunningEdge, receiver: Receiver):
    reader = await edge.session(subjects=None)
    session = await edge.session(subjects=None, delivery_method="webhook", webhook_url=receiver.url)

    refused = await edge.http.post(f"/callbacks/sessions/{reader}/test?wait=1", json={})
    long = await edge.http.post(f"/callbacks/sessions/{session}/test?wait=61", json={})

    assert (refused.status_code, refused.json()["code"]) == (409, "not_a_webhook")
    assert (long.status_code, long.json()["code"]) == (400, "bad_parameter")
    assert (await edge.http.post(f"/callbacks/sessions/{reader}/test", json={})).json()["success"] is True


async def test_malformed_test_data_are_refused_and_nothing_is_sent(edge: RunningEdge) -> None:
    session = await edge.session(subjects=["session.>"])

    answer = await edge.http.post(
        f"/callbacks/sessions/{session}/test", json={"event_type": "progress", "test_data": {"progress": "half"}}
    )

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        422, "malformed_event", "data.progress",
    )  # fmt: skip
    sent = (await edge.poll(session, "?cursor=earliest"))["events"]
    assert [event for event in sent if event["subject"].startswith(f"session.{session}.")] == []


@pytest.mark.parametrize("kind", [each.name for each in all_types() if each.domain is None])
def test_a_test_event_of_each_known_type_has_data_of_its_type(kind: str) -> None:
    check(kind, data_for(kind), "session")
