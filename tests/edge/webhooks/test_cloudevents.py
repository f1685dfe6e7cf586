"""Webhooks in the two HTTP modes of CloudEvents, read as the specification says they are read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from standardwebhooks.webhooks import Webhook

from edge.dialects.cloudevents import attributes, binary, cloudevents, header_value
from edge.webhooks.client.payload import build_payload
from router.codec import encode
from router.event import Event
from router.record import Record
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually

EPOCH = "5f3a9c1e"


def record(**more: Any) -> Record:
    event = Event.new("job.a.output", more.pop("data", {"n": 1}), **more)
    return Record(7, event.subject, encode(event))


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("a b", "a%20b"),
        ('"', "%22"),
        ("100%", "100%25"),
        ("ü€😀", "%C3%BC%E2%82%AC%F0%9F%98%80"),
        ("a\r\nX: y", "a%0D%0AX:%20y"),
        (True, "true"),
        (7, "7"),
    ],
)
def test_a_value_is_encoded_for_a_header_as_the_binding_says(value: object, text: str) -> None:
    assert header_value(value) == text


def test_what_an_attribute_may_not_hold_is_left_out() -> None:
    found = attributes(record(key="a\r\nb\x00", source="über\x07"), EPOCH)
    headers, _ = binary(record(key="a\r\nb\x00"), EPOCH, {})

    assert found["partitionkey"] == "ab" and found["source"] == "%C3%BCber"
    assert headers["ce-partitionkey"] == "ab"
    assert not any("\r" in value or "\n" in value for value in headers.values())


def test_an_event_is_encoded_once_and_says_what_it_stands_for() -> None:
    one = record(cause="before", test=True, trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    one.superseded = 4

    said = json.loads(cloudevents(one, EPOCH))

    assert cloudevents(one, EPOCH) is cloudevents(one, EPOCH)
    assert (said["causeid"], said["callboardtest"], said["callboardconflated"]) == ("before", True, 4)
    assert said["traceparent"].startswith("00-0af7") and said["sequence"] == f"{7:020d}"
    assert build_payload([one], EPOCH, "sess_1", "cloudevents", False).body != cloudevents(one, EPOCH)
