"""Publishing over HTTP: acknowledged, in order, once; and refused whole where one event is bad."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import pytest

from edge.errors import TITLES
from edge.http.ingest import FEW, events
from router.broker import Broker
from router.codec import rfc3339
from router.own_events import take_own
from tests.edge.conftest import RunningEdge
from tests.router.event_types.test_golden import golden, type_and_data


async def test_one_event_is_answered_once_it_is_stored(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.post(
        "/events",
        json={"subject": f"agent.{entity}.progress", "type": "progress", "data": {"progress": 0.5, "text": "日本語 ✓"}},
    )
    session = await edge.session(subjects=[f"agent.{entity}.>"], cursor="earliest")
    (event,) = (await edge.poll(session))["events"]

    assert answer.status_code == 201
    assert event["cursor"] == answer.json()["cursor"] and event["id"] == answer.json()["id"]
    assert event["data"] == {"progress": 0.5, "text": "日本語 ✓"}
    assert (event["event_type"], event["source"], event["subject"]) == ("progress", "http", f"agent.{entity}.progress")


async def test_an_event_is_packed_once_and_these_bytes_are_stored(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[bytes] = []
    pack = msgpack.packb

    def counted(value: Any, **options: Any) -> bytes:
        made: bytes = pack(value, **options)
        if isinstance(value, dict) and value.get("subject") == f"job.{entity}.output":
            packed.append(made)
        return made

    monkeypatch.setattr(msgpack, "packb", counted)

    await edge.numbers(entity, 1)

    (record,) = await store.latest([f"job.{entity}.output"])
    assert packed == [record.payload]


async def test_a_batch_is_stored_in_its_order(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 500)

    page = await edge.poll(session, "?limit=1000")

    assert [event["data"]["n"] for event in page["events"]] == list(range(500))


async def test_a_repeat_with_the_same_idempotency_key_is_stored_once(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    body = [{"subject": f"job.{entity}.output", "data": {"n": n}} for n in range(3)]
    answers = [await edge.http.post("/events", json=body, headers={"Idempotency-Key": entity}) for _ in range(2)]

    first, second = (answer.json()["events"] for answer in answers)

    assert [e["duplicate"] for e in first] == [False] * 3 and [e["duplicate"] for e in second] == [True] * 3
    assert [e["cursor"] for e in first] == [e["cursor"] for e in second]
    assert len((await edge.poll(session))["events"]) == 3


async def test_msgpack_ndjson_and_what_curl_sends_are_taken(edge: RunningEdge, entity: str) -> None:
    event = {"subject": f"job.{entity}.output", "data": {"n": 1}}
    packed = await edge.http.post(
        "/events", content=msgpack.packb(event), headers={"Content-Type": "application/msgpack"}
    )
    lines = await edge.http.post(
        "/events",
        content=b'{"subject":"job.%s.output"}\n\n{"subject":"job.%s.output"}\n' % ((entity.encode(),) * 2),
        headers={"Content-Type": "application/x-ndjson"},
    )
    curl = await edge.http.post(
        "/events",
        content=b'{"subject":"job.%s.output"}' % entity.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert [packed.status_code, lines.status_code, curl.status_code] == [201, 201, 201]
    assert len(lines.json()["events"]) == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ([], "bad_body"),
        ("x", "bad_body"),
        ({"events": {}}, "bad_body"),
        ([1], "bad_body"),
        ({"subject": "agent"}, "bad_subject"),
        ({"subject": "agent.*.x"}, "bad_subject"),
        ({"subject": 7}, "bad_subject"),
        ({"subject": "a.b.c", "type": "Bad"}, "bad_event"),
        ({"subject": "a.b.c", "data": [1]}, "bad_event"),
        ({"subject": "a.b.c", "data": "x"}, "bad_event"),
        ({"subject": "a.b.c", "colour": 1}, "unknown_field"),
        ({"subject": "a.b.c", "source": 1}, "bad_event"),
        ({"subject": "a.b.c", "key": "k" * 201}, "bad_event"),
        ({"subject": "a.b.c", "test": "yes"}, "bad_event"),
        ({"subject": "a.b.c", "id": ""}, "bad_event"),
        ({"subject": "a.b.c", "id": "a b"}, "bad_event"),
        ({"subject": "a.b.c", "data": {"n": 2**70}}, "bad_event"),
        ({"subject": "system.x.y"}, "forbidden_subject"),
        ([{"subject": "a.b.c"}] * 1001, "batch_too_large"),
    ],
)
async def test_a_bad_event_is_refused_with_a_stable_code(edge: RunningEdge, body: Any, code: str) -> None:
    answer = await edge.http.post("/events", json=body)

    assert answer.json()["code"] == code, answer.text
    assert answer.status_code == TITLES[code][0]


async def test_who_says_event_type_is_told_to_say_type(edge: RunningEdge) -> None:
    answer = await edge.http.post("/events", json={"subject": "a.b.c", "event_type": "progress"})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_field")
    assert "say `type`" in answer.json()["detail"]


async def test_one_bad_event_of_a_batch_stores_none_and_says_which(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    answer = await edge.http.post("/events", json=[{"subject": f"job.{entity}.x"}, {"subject": "bad"}])

    assert (answer.json()["code"], answer.json()["index"]) == ("bad_subject", 1)
    assert (await edge.poll(session))["events"] == []


async def test_deep_nesting_and_foreign_types_are_refused(edge: RunningEdge) -> None:
    deep = await edge.http.post("/events", content=b'{"subject":"a.b.c","data":' + b'{"a":' * 100 + b"1" + b"}" * 101)
    kind = await edge.http.post("/events", content=b"x", headers={"Content-Type": "image/png"})
    key = await edge.http.post("/events", json={"subject": "a.b.c"}, headers={"Idempotency-Key": "k" * 201})

    assert deep.json()["code"] == "bad_event"
    assert (kind.status_code, kind.json()["code"]) == (415, "unsupported_media_type")
    assert key.json()["code"] == "bad_parameter"


async def test_malformed_data_of_a_known_type_are_refused_with_the_field_and_nothing_is_stored(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    good = {"subject": f"job.{entity}.progress", "data": {"progress": 0.5}}
    bad = {"subject": f"job.{entity}.job_progress", "data": {"status": "completed", "progress": 65}}

    one = await edge.http.post("/events", json=bad)
    batch = await edge.http.post("/events", json=[good, bad])
    unknown = await edge.http.post("/events", json={**bad, "type": "own_progress"})

    assert [(answer.status_code, answer.json()["code"]) for answer in (one, batch)] == [(422, "malformed_event")] * 2
    assert (one.json()["field"], one.json().get("index")) == ("data.progress", None)
    assert (batch.json()["field"], batch.json()["index"]) == ("data.progress", 1)
    assert "from 0 to 1, not 65" in one.json()["detail"]
    assert unknown.status_code == 201
    assert [event["event_type"] for event in (await edge.poll(session))["events"]] == ["own_progress"]


async def test_each_way_to_be_malformed_is_refused_over_http_and_no_sample_of_the_documents_is(
    edge: RunningEdge, entity: str
) -> None:
    for sample in golden("malformed"):
        answer = await edge.http.post(
            "/events", json={"subject": f"metric.{entity}.{sample['type']}", "data": sample["data"]}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed_event"), sample["kind"]
        assert answer.json()["field"] == f"data.{sample['field']}"
    for guide in ("callback-guide", "streaming-guide", "realtime-guide"):
        for place, (kind, data) in enumerate(map(type_and_data, golden(guide))):
            answer = await edge.http.post("/events", json={"subject": f"metric.{entity}{place}.{kind}", "data": data})
            assert answer.status_code == 201, answer.text


async def test_an_event_that_is_published_late_keeps_its_time(edge: RunningEdge, store: Broker, entity: str) -> None:
    now = time.time_ns() // 1000 * 1000
    for moment in (now - 3_600_000_000_000, rfc3339(now - 60_000_000_000)):
        answer = await edge.http.post("/events", json={"subject": f"job.{entity}.noted", "time": moment})
        assert answer.status_code == 201, answer.text

    times = [record.event.time for record in (await store.read(f"job.{entity}.noted", 0)).records if record.event]
    assert times == [now - 3_600_000_000_000, now - 60_000_000_000]


@pytest.mark.parametrize("moment", ["soon", True, 1.5, 5, "2001-01-01T00:00:00Z", 9_000_000_000_000_000_000])
async def test_a_time_that_cannot_be_is_refused(edge: RunningEdge, entity: str, moment: object) -> None:
    answer = await edge.http.post("/events", json={"subject": f"job.{entity}.noted", "time": moment})

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "bad_event", "time")


@pytest.mark.parametrize(("count", "remembered"), [(FEW, True), (FEW + 1, False)])
def test_of_a_few_events_the_live_copies_need_not_be_decoded(count: int, remembered: bool) -> None:
    made = events([{"subject": "job.a.said", "data": {"n": n}} for n in range(count)], None)

    assert [take_own(payload) is not None for _, payload in made] == [remembered] * count
