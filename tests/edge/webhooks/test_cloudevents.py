"""Webhooks in the two HTTP modes of CloudEvents, read as the specification says they are read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from standardwebhooks.webhooks import Webhook

from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually


async def post(edge: RunningEdge, receiver: Receiver, entity: str, dialect: str, count: int = 1, **more: Any) -> Any:
    """Lets a session of a dialect have events; gives the session as it was made."""
    body = {
        "delivery_method": "webhook",
        "webhook_url": receiver.url,
        "subjects": [f"job.{entity}.>"],
        "dialect": dialect,
        **more,
    }
    made = await edge.http.post("/callbacks/sessions", json=body)
    assert made.status_code == 201, made.text
    await edge.publish(
        *(
            {"subject": f"job.{entity}.output", "data": {"n": n}, "key": "schlüssel", "source": "a b"}
            for n in range(count)
        )
    )
    return made.json()


async def test_the_structured_mode_is_one_json_object(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    session = await post(edge, receiver, entity, "cloudevents")
    await eventually(lambda: receiver.posts)
    (got,) = receiver.posts

    said = json.loads(got.body)
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert said["specversion"] == "1.0" and said["type"] == "output" and said["data"] == {"n": 0}
    assert said["source"] == "a%20b" and said["partitionkey"] == "schlüssel"
    assert said["callboardsession"] == session["session_id"]
    assert not any(name.startswith("ce-") for name in got.headers)
    # An attribute's name is of small letters and digits.
    assert all(name.isalnum() and name.islower() for name in said)
    assert Webhook(session["webhook_secret"]).verify(got.body, got.headers) == said


async def test_the_binary_mode_is_headers_and_the_bare_data(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    session = await post(edge, receiver, entity, "cloudevents-binary")
    await eventually(lambda: receiver.posts)
    (got,) = receiver.posts

    assert got.headers["content-type"] == "application/json" and json.loads(got.body) == {"n": 0}
    said = {name[3:]: unquote(value) for name, value in got.headers.items() if name.startswith("ce-")}
    assert said["specversion"] == "1.0" and said["type"] == "output" and said["subject"] == f"job.{entity}.output"
    assert said["partitionkey"] == "schlüssel" and said["callboardsession"] == session["session_id"]
    assert "datacontenttype" not in said and said["id"] and said["time"].endswith("Z")
    Webhook(session["webhook_secret"]).verify(got.body, got.headers)


async def test_a_batch_is_in_the_batched_mode(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    await post(edge, receiver, entity, "cloudevents", 3, batch={"max_n": 3, "linger": 5})
    await eventually(lambda: sum(len(json.loads(got.body)) for got in receiver.posts) == 3)

    assert {got.headers["content-type"] for got in receiver.posts} == {"application/cloudevents-batch+json"}
    assert all(said["specversion"] == "1.0" for got in receiver.posts for said in json.loads(got.body))


async def test_the_binary_mode_is_refused_where_there_are_no_headers(edge: RunningEdge, receiver: Receiver) -> None:
    stream = await edge.http.post(
        "/callbacks/sessions", json={"delivery_method": "sse", "dialect": "cloudevents-binary"}
    )
    batched = await edge.http.post(
        "/callbacks/sessions",
        json={"delivery_method": "webhook", "webhook_url": receiver.url, "dialect": "cloudevents-binary", "batch": {}},
    )

    assert (stream.status_code, stream.json()["code"]) == (422, "bad_body")
    assert (batched.status_code, batched.json()["code"]) == (422, "bad_webhook")


async def test_a_stream_has_the_dialect_too(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(dialect="cloudevents", subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)

    (said,) = (await edge.poll(session, "?cursor=earliest"))["events"]

    assert said["specversion"] == "1.0" and said["data"] == {"n": 0}
