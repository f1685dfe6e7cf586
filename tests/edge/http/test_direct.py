"""A plain request that publishes events is answered as the application answers the same request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edge import metrics
from edge.http import direct
from edge.http.batch import EventDoor
from edge.http.direct import DirectPublisher
from edge.settings import EdgeSettings
from router.broker import Broker
from router.cursor import parse_cursor
from router.nats.request import CallbackRequest
from router.store_trouble import Trouble
from tests.edge.auth.conftest import SecuredFactory, token
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import PATIENCE, eventually


async def post(port: int, body: bytes, *headers: str, plain: bool) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Publishes by a plain request, or by one that differs in nothing but that it is in two packets."""
    host = [] if any(header.lower().startswith("host:") for header in headers) else [f"Host: 127.0.0.1:{port}"]
    lines = ["POST /events HTTP/1.1", *host, f"Content-Length: {len(body)}", *headers]
    whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE):
        if plain:
            writer.write(whole)
        else:
            # Two requests in one packet are not plain; the second is answered behind the first.
            writer.write(whole + b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *given = head.strip().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in given)}
        answer = json.loads(await reader.readexactly(int(found["content-length"])))
    writer.close()
    return int(first.split(" ")[1]), found, answer


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each plain request was answered where it arrived."""
    asked: list[bool] = []
    take = DirectPublisher.take

    def noted(self: DirectPublisher, *given: Any) -> Any:
        answer = take(self, *given)
        asked.append(answer)
        return answer

    monkeypatch.setattr(DirectPublisher, "take", noted)
    return asked


CASES = {
    "one event": (b'{"subject":"job.%b.started","data":{"n":1}}', (), 201, True),
    "a batch": (b'[{"subject":"job.%b.output"},{"subject":"job.%b.output"}]', (), 201, True),
    "with a key": (b'{"subject":"job.%b.output"}', ("Idempotency-Key: once-%s",), 201, True),
    "lines": (b'{"subject":"job.%b.output"}\n', ("Content-Type: application/x-ndjson",), 201, True),
    "no JSON": (b"{", (), 400, True),
    "no subject": (b"{}", (), 422, True),
    "a bad subject": (b'{"subject":"no"}', (), 422, True),
    "of the system": (b'{"subject":"system.a.b"}', (), 403, True),
    "another type": (b"<a/>", ("Content-Type: text/xml",), 415, True),
    "a bad key": (b'{"subject":"job.%b.output"}', ("Idempotency-Key: a b",), 400, True),
    "another host": (b'{"subject":"job.%b.output"}', ("Host: evil.example",), 421, False),
    "a page of its own": (b'{"subject":"job.%b.output"}', ("Origin: http://127.0.0.1",), 201, None),
    "a page of another": (b'{"subject":"job.%b.output"}', ("Origin: https://evil.example",), 403, None),
}


@pytest.mark.parametrize("case", CASES)
async def test_both_ways_answer_alike(edge: RunningEdge, entity: str, taken: list[bool], case: str) -> None:
    body, headers, status, direct = CASES[case]
    body = body.replace(b"%b", entity.encode())

    def request(which: str) -> tuple[str, ...]:
        return tuple(header.replace("%s", f"{entity}-{which}") for header in headers)

    mine = await post(edge.port, body, *request("mine"), plain=True)
    theirs = await post(edge.port, body, *request("theirs"), plain=False)

    assert mine[0] == theirs[0] == status
    assert set(mine[1]) == set(theirs[1])
    for name in ("content-type", "cache-control", "x-content-type-options"):
        assert mine[1].get(name) == theirs[1].get(name)
    assert mine[2].keys() == theirs[2].keys() and mine[2].get("code") == theirs[2].get("code")
    assert taken == ([] if direct is None else [direct])


async def test_a_repeat_gets_the_first_answer_whichever_way_it_comes(edge: RunningEdge, entity: str) -> None:
    body = json.dumps({"subject": f"job.{entity}.output"}).encode()
    key = f"Idempotency-Key: {entity}"

    first = await post(edge.port, body, key, plain=True)
    again = [await post(edge.port, body, key, plain=plain) for plain in (True, False)]
    other = await post(edge.port, body.replace(b"output", b"started"), key, plain=True)

    assert [answer[2]["cursor"] for answer in again] == [first[2]["cursor"]] * 2
    assert [answer[2]["duplicate"] for answer in (first, *again)] == [False, True, True]
    assert (other[0], other[2]["code"]) == (422, "idempotency_key_reused")


async def test_a_request_that_is_larger_than_allowed_is_refused(edge_factory: EdgeFactory, entity: str) -> None:
    async with edge_factory(max_body=200) as edge:
        body = json.dumps({"subject": f"job.{entity}.output", "data": {"text": "x" * 200}}).encode()
        answers = [await post(edge.port, body, plain=plain) for plain in (True, False)]

    assert EdgeSettings().max_body > 200
    assert [(status, answer["code"]) for status, _, answer in answers] == [(413, "body_too_large")] * 2


async def test_a_token_decides_what_may_be_published(secured: SecuredFactory, entity: str, taken: list[bool]) -> None:
    async with secured() as edge:
        body = json.dumps({"subject": f"job.{entity}.output"}).encode()
        proofs = {
            "allowed": f"Authorization: Bearer {token(publish=['job.>'])}",
            "not granted": f"Authorization: Bearer {token(publish=['agent.>'])}",
            "invalid": "Authorization: Bearer no.token.here",
            "of another kind": "Authorization: Basic abc",
            "none": "X-Nothing: 1",
        }
        mine = {name: await post(edge.port, body, proof, plain=True) for name, proof in proofs.items()}
        theirs = {name: await post(edge.port, body, proof, plain=False) for name, proof in proofs.items()}

    for answers in (mine, theirs):
        codes = {name: (status, answer.get("code")) for name, (status, _, answer) in answers.items()}
        assert codes == {
            "allowed": (201, None),
            "not granted": (403, "not_granted"),
            "invalid": (401, "bad_token"),
            "of another kind": (401, "bad_token"),
            "none": (401, "token_required"),
        }
    assert taken == [True, True, False, False, False]


async def test_requests_and_refusals_are_counted(edge: RunningEdge, entity: str) -> None:
    def counted() -> tuple[float, float, float]:
        requests = [metrics.requests.labels("/events", kind)._value.get() for kind in ("2xx", "4xx")]
        return (*requests, metrics.refusals.labels("missing_field")._value.get())

    before = counted()
    await post(edge.port, json.dumps({"subject": f"job.{entity}.output"}).encode(), plain=True)
    await post(edge.port, b"{}", plain=True)

    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 1]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each event that was tried to be sent at once was sent."""
    sent: list[bool] = []
    store_now = EventDoor.store_now

    def noted(self: EventDoor, *given: Any) -> bool:
        sent.append(store_now(self, *given))
        return sent[-1]

    monkeypatch.setattr(EventDoor, "store_now", noted)
    return sent


async def test_an_event_that_depends_on_nothing_is_stored_without_a_task(
    edge: RunningEdge, entity: str, tried: list[bool]
) -> None:
    status, _, answer = await post(edge.port, json.dumps({"subject": f"test.{entity}.said"}).encode(), plain=True)

    assert (status, answer["duplicate"], tried) == (201, False, [True])
    assert answer["cursor"] == answer["events"][0]["cursor"] and answer["id"] == answer["events"][0]["id"]


@pytest.mark.parametrize("kind", ["workflow_start", "progress", "completion"])
async def test_an_event_that_depends_on_others_is_stored_by_a_task(
    edge: RunningEdge, entity: str, tried: list[bool], kind: str
) -> None:
    body = json.dumps({"subject": f"agent.{entity}.{kind}", "data": {"progress": 0.5}}).encode()

    assert (await post(edge.port, body, plain=True))[0] == 201
    assert tried == [False]


async def test_an_event_whose_acknowledgement_is_lost_is_stored_once_and_answered(
    edge: RunningEdge, store: Broker, entity: str, tried: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_now = Broker.put_now

    def unheard(self: Broker, event: Any, payload: bytes, dedup: str, headers: Any, settle: Any) -> Any:
        return put_now(self, event, payload, dedup, headers, lambda _ack: settle(None))

    monkeypatch.setattr(Broker, "put_now", unheard)
    status, _, answer = await post(edge.port, json.dumps({"subject": f"test.{entity}.said"}).encode(), plain=True)

    (record,) = (await store.read(f"test.{entity}.>", 0)).records
    assert (status, answer["duplicate"], tried) == (201, True, [True])
    assert parse_cursor(answer["cursor"]).parts[0].sequence == record.sequence


async def test_an_event_that_waits_is_refused_once_its_stream_is_known_to_take_none(
    edge: RunningEdge, entity: str, tried: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    health = edge.edge.store
    trouble = Trouble("EVENTS", "storage_full", "no space left on the device")
    monkeypatch.setattr(Broker, "put_now", lambda *_given: CallbackRequest("", 0.0, lambda _: None, lambda _: None))
    coming = asyncio.create_task(post(edge.port, json.dumps({"subject": f"test.{entity}.said"}).encode(), plain=True))
    await eventually(lambda: tried)

    monkeypatch.setattr(health, "_troubles", {"EVENTS": trouble})
    health._writes.fail(health.trouble)
    status, _, answer = await coming

    assert (status, answer["code"], answer["stored"]) == (503, "storage_full", 0)


async def test_a_fault_while_an_event_is_answered_for_is_status_500(
    edge: RunningEdge, entity: str, tried: list[bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_given: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(direct, "answer_now", fails)
    status, _, answer = await post(edge.port, json.dumps({"subject": f"test.{entity}.said"}).encode(), plain=True)

    assert (status, answer["code"]) == (500, "internal")
    assert "secret" in caplog.text and "secret" not in str(answer)
