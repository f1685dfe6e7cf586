"""The payload of an attempt is one event or a batch, in the dialect of its session."""

from __future__ import annotations

import json

import pytest

from edge.webhooks.client.payload import build_payload
from router.codec import encode
from router.event import Event
from router.record import Record

EPOCH = "0123abcd"
SESSION = "sess_000000000000000000000001"


def records(count: int = 1) -> list[Record]:
    return [Record(n, "agent.run.done", encode(Event.new("agent.run.done", {"n": n}))) for n in range(1, count + 1)]


def test_one_event_is_one_object_that_names_its_session():
    payload = build_payload(records(), EPOCH, SESSION, "callback", batch=False)

    body = json.loads(payload.body)
    assert (body["session_id"], body["data"]) == (SESSION, {"n": 1})
    assert payload.content_type == "application/json"


@pytest.mark.parametrize("dialect", ["callback", "cloudevents"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_is_a_list_however_many_events_it_has(dialect: str, count: int):
    payload = build_payload(records(count), EPOCH, SESSION, dialect, batch=True)

    assert [each["data"] for each in json.loads(payload.body)] == [{"n": n} for n in range(1, count + 1)]


def test_the_binary_dialect_has_the_attributes_in_headers_unless_it_is_a_batch():
    alone = build_payload(records(), EPOCH, SESSION, "cloudevents-binary", batch=False)
    batch = build_payload(records(), EPOCH, SESSION, "cloudevents-binary", batch=True)

    assert json.loads(alone.body) == {"n": 1} and alone.headers["ce-callboardsession"] == SESSION
    assert batch.content_type.startswith("application/cloudevents-batch+json") and not batch.headers
