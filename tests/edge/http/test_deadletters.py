"""Dead letters over HTTP: listed, searched, shown, deleted, counted, sent again, purged; told of, and measured."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from edge.app import openapi as document
from edge.deadletters.notifier import CONSUMER
from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import EndpointStore
from router.broker import Broker
from router.codec import encode
from router.deadletter import Origin, actor_subject, ingest_subject, webhook_subject
from router.deadletters import DeadLetters
from router.errors import Refused
from router.event import Event
from router.subject import STORED
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def bury(
    store: Broker, subject: str, count: int = 1, *, kind: str = "output", reason: str = "exhausted", **more: Any
) -> list[tuple[int, Event]]:
    """Buries events of their own; their places and the events."""
    buried = []
    for number in range(count):
        data = more.get("data") or {"n": number}
        event = Event.new(f"job.{subject.split('.')[2]}.{kind}", data)
        ack = await DeadLetters(store).add(
            subject,
            more.get("payload") or encode(event),
            origin=Origin("EVENTS", 100 + number, STORED + event.subject),
            reason=reason,
            detail=more.get("detail", ""),
            attempts=4,
            destination=more.get("destination", "https://example.com/hook"),
            source=subject.split(".")[2],
            redrives=more.get("redrives", 0),
            id=f"dead.{secrets.token_hex(16)}",
        )
        buried.append((ack.sequence, event))
    return buried


async def listed(edge: RunningEdge, **query: Any) -> list[int]:
    """The ids of all pages, asked for one after the other."""
    found: list[int] = []
    cursor = None
    while True:
        answer = await edge.http.get("/deadletters", params={**query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [letter["id"] for letter in page["deadletters"]]
        cursor = page["next"]
        if cursor is None:
            return found


# Looking


async def test_a_letter_is_shown_with_its_event_and_without_secrets(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    ((id, event),) = await bury(store, webhook_subject(entity), detail="server_error (HTTP 500)")

    shown = (await edge.http.get(f"/deadletters/{id}")).json()
    (in_list,) = (await edge.http.get("/deadletters", params={"name": entity})).json()["deadletters"]

    assert shown == in_list
    assert (shown["origin"], shown["name"], shown["reason"], shown["attempts"]) == ("webhook", entity, "exhausted", 4)
    assert (shown["detail"], shown["destination"]) == ("server_error (HTTP 500)", "https://example.com/hook")
    assert shown["from"]["sequence"] == 100 and shown["from"]["subject"] == event.subject
    assert shown["event"]["id"] == shown["event_id"] == event.id
    assert shown["event"]["data"] == {"n": 0} and shown["event"]["event_type"] == "output"
    schema = document()["components"]["schemas"]["DeadLetter"]
    assert set(schema["required"]) <= set(shown) <= set(schema["properties"])


async def test_what_is_no_event_is_shown_as_bytes_and_a_large_event_only_by_itself(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    ((garbage, _),) = await bury(store, ingest_subject(entity), payload=b"\xc1 garbage", reason="decode_error")
    ((large, _),) = await bury(store, actor_subject(entity), data={"text": "x" * 100_000})

    shown = (await edge.http.get(f"/deadletters/{garbage}")).json()
    in_list = (await edge.http.get("/deadletters", params={"name": entity, "origin": "actor"})).json()["deadletters"][0]
    whole = (await edge.http.get(f"/deadletters/{large}")).json()

    assert (shown["event"], shown["payload"], shown["event_id"]) == (None, "wSBnYXJiYWdl", None)
    assert (in_list["event"], in_list["bytes"] > 100_000) == (None, True)
    assert whole["event"]["data"]["text"] == "x" * 100_000


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_letters_are_listed_page_by_page_none_twice_none_missing(
    edge: RunningEdge, store: Broker, entity: str, order: str
) -> None:
    mine = []
    for number in range(12):
        mine += await bury(store, webhook_subject(entity), 3)
        # Others lie between, so that places are not next to one another.
        await bury(store, webhook_subject(f"other{number}{entity}"), 10)
    ids = [id for id, _ in mine]

    for limit in (1, 5, 36, 50):
        found = await listed(edge, name=entity, order=order, limit=limit)
        assert found == (ids if order == "oldest" else ids[::-1]), limit
    first = (await edge.http.get("/deadletters", params={"name": entity, "order": order, "limit": 36})).json()
    assert len(first["deadletters"]) == 36


async def test_every_filter_finds_what_it_means(edge: RunningEdge, store: Broker, entity: str) -> None:
    ((hook, event),) = await bury(store, webhook_subject(entity), reason="gone", detail="Nobody lives HERE any more")
    ((actor, _),) = await bury(
        store, actor_subject(entity), kind="progress", reason="rejected", data={"word": "Marmalade"}
    )
    ((spoilt, _),) = await bury(store, ingest_subject(entity), payload=b"\xc1" + entity.encode(), reason="decode_error")
    moment = (await edge.http.get(f"/deadletters/{actor}")).json()["buried"]

    for query, found in (
        ({"name": entity}, {hook, actor, spoilt}),
        ({"name": entity, "origin": "actor"}, {actor}),
        ({"name": entity, "reason": "gone"}, {hook}),
        ({"subject": f"job.{entity}.*"}, {hook, actor, spoilt}),
        ({"subject": f"job.{entity}.progress"}, {actor}),
        ({"event": event.id}, {hook}),
        ({"name": entity, "text": "lives here"}, {hook}),
        ({"name": entity, "text": "marmalade"}, {actor}),
        ({"name": entity, "since": moment}, {actor, spoilt}),
        ({"name": entity, "until": moment}, {hook}),
        ({"name": entity, "text": "nowhere to be found"}, set()),
    ):
        for order in ("newest", "oldest"):
            assert set(await listed(edge, order=order, **query)) == found, (query, order)


async def test_a_page_ends_after_a_bounded_search_and_says_where_to_go_on(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    # Each half a mebibyte: a request looks through eight at most.
    ((wanted, _),) = await bury(store, actor_subject(entity), detail="the needle")
    await bury(store, actor_subject(entity), 24, data={"text": "x" * 500_000})

    page = (await edge.http.get("/deadletters", params={"name": entity, "text": "needle"})).json()

    assert page["deadletters"] == [] and page["next"] is not None
    assert await listed(edge, name=entity, text="needle") == [wanted]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("origin=nowhere", "bad_parameter"),
        ("colour=red", "bad_parameter"),
        ("since=yesterday", "bad_parameter"),
        ("limit=0", "bad_parameter"),
        ("limit=501", "bad_parameter"),
        ("limit=ten", "bad_parameter"),
        ("order=random", "bad_parameter"),
        ("name=" + "x" * 256, "bad_parameter"),
        ("subject=a..b", "bad_pattern"),
        ("cursor=xyz", "bad_cursor"),
        ("cursor=o12", "bad_cursor"),
        ("cursor=12&order=oldest", "bad_cursor"),
    ],
)
async def test_a_bad_filter_is_refused_by_name(edge: RunningEdge, query: str, code: str) -> None:
    answer = await edge.http.get(f"/deadletters?{query}")

    assert answer.status_code in (400, 422)
    assert answer.json()["code"] == code and answer.json()["detail"]


async def test_a_letter_is_deleted_and_unknown_ones_are_404(edge: RunningEdge, store: Broker, entity: str) -> None:
    ((id, _),) = await bury(store, webhook_subject(entity))

    assert (await edge.http.delete(f"/deadletters/{id}")).status_code == 204

    for method in ("GET", "DELETE"):
        for unknown in (str(id), "0", "-1", "many", "9" * 30, "٣"):
            answer = await edge.http.request(method, f"/deadletters/{unknown}")
            assert (answer.status_code, answer.json()["code"]) == (404, "deadletter_not_found"), unknown


async def test_the_summary_counts_by_origin_reason_and_name(edge: RunningEdge, store: Broker, entity: str) -> None:
    before = (await edge.http.get("/deadletters/summary")).json()
    await bury(store, webhook_subject(entity), 200, reason=f"because {entity}")
    await bury(store, actor_subject(entity), 1, reason="rejected")

    after = (await edge.http.get("/deadletters/summary")).json()

    assert after["by_origin"]["webhook"] - before["by_origin"]["webhook"] == 200
    assert after["by_origin"]["actor"] - before["by_origin"]["actor"] == 1
    assert after["by_reason"][f"because {entity}"] == 200
    assert {"origin": "webhook", "name": entity, "count": 200} in after["by_name"]
    assert after["total"] == before["total"] + 201 and after["bytes"] > before["bytes"]
    assert 0 < after["fullness"] < 1 and after["oldest"] and after["complete"]
    assert set(document()["components"]["schemas"]["DeadLetterSummary"]["properties"]) == set(after)


# Sending again


async def ended(edge: RunningEdge, id: str) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        job = (await edge.http.get(f"/deadletters/jobs/{id}")).json()
        return job if job["state"] != "running" else None

    return await eventually(over)


async def test_letters_are_sent_again_by_a_job_that_can_be_watched(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await bury(store, webhook_subject(entity), 3)

    answer = await edge.http.post("/deadletters/redrive", json={"filter": {"name": entity}, "rate": 500})
    job = await ended(edge, answer.json()["id"])

    assert answer.status_code == 202 and answer.headers["location"] == f"/deadletters/jobs/{job['id']}"
    assert set(document()["components"]["schemas"]["Redrive"]["properties"]) == set(job)
    assert (job["state"], job["total"], job["skipped"], job["reasons"]) == ("done", 3, 3, {"session_gone": 3})
    assert (job["filter"], job["rate"], job["eta"]) == ({"name": entity}, 500.0, 0.0)
    assert job["id"] in [each["id"] for each in (await edge.http.get("/deadletters/jobs")).json()["jobs"]]


async def test_one_letter_is_sent_again_by_its_id(edge: RunningEdge, store: Broker, entity: str) -> None:
    session = await edge.session(
        delivery_method="webhook", webhook_url="http://127.0.0.1:9/hook", subjects=["job.nobody.>"], retry_attempts=0
    )
    (one, _), (other, _) = await bury(store, webhook_subject(session), 2)

    job = await ended(edge, (await edge.http.post("/deadletters/redrive", json={"id": one})).json()["id"])

    assert (job["state"], job["letter"], job["total"], job["sent"]) == ("done", one, 1, 1)
    assert (await edge.http.get(f"/deadletters/{one}")).status_code == 404
    assert (await edge.http.get(f"/deadletters/{other}")).status_code == 200
    # Nobody listens there: it comes back, and knows that it was sent again.
    (back,) = await eventually(lambda: again(edge, session, other))
    assert (back["reason"], back["redrives"]) == ("exhausted", 1)
    assert back["from"]["sequence"] == 100


async def test_a_selection_is_sent_again_and_deleted_and_nothing_beside_it(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    (one, _), (beside, _), (two, _), (other, _) = await bury(store, actor_subject(entity), 4)

    asked = {"filter": {"ids": [two, one], "name": entity}, "dry_run": True}
    job = await ended(edge, (await edge.http.post("/deadletters/redrive", json=asked)).json()["id"])
    purged = (await edge.http.post("/deadletters/purge", json={"filter": {"ids": [one, two]}})).json()

    assert (job["total"], job["filter"]) == (2, {"name": entity, "ids": [two, one]})
    assert (purged["purged"], purged["next"]) == (2, None)
    assert await listed(edge, name=entity, order="oldest") == [beside, other]


async def again(edge: RunningEdge, name: str, old: int) -> list[dict[str, Any]]:
    page = (await edge.http.get("/deadletters", params={"name": name})).json()
    return [letter for letter in page["deadletters"] if letter["id"] > old]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "bad_body"),
        ({}, "missing_field"),
        ({"id": 1, "filter": {}}, "missing_field"),
        ({"id": True}, "bad_body"),
        ({"id": 999_999_999}, "deadletter_not_found"),
        ({"filter": "all"}, "bad_filter"),
        ({"filter": {"colour": "red"}}, "bad_filter"),
        ({"filter": {"origin": "x"}}, "bad_filter"),
        ({"filter": {"name": 3}}, "bad_filter"),
        ({"filter": {"ids": []}}, "bad_filter"),
        ({"filter": {"ids": [0]}}, "bad_filter"),
        ({"filter": {"ids": [1] * 501}}, "bad_filter"),
        ({"filter": {"since": "noon"}}, "bad_filter"),
        ({"filter": {"subject": ".."}}, "bad_pattern"),
        ({"filter": {}, "rate": 0}, "bad_body"),
        ({"filter": {}, "rate": "fast"}, "bad_body"),
        ({"filter": {}, "rate": 1e9}, "bad_body"),
        ({"filter": {}, "limit": 0}, "bad_body"),
        ({"filter": {}, "limit": 1.5}, "bad_body"),
        ({"filter": {}, "force": "yes"}, "bad_body"),
        ({"filter": {}, "colour": 1}, "unknown_field"),
    ],
)
async def test_a_bad_redrive_is_refused_and_begins_nothing(edge: RunningEdge, body: Any, code: str) -> None:
    before = (await edge.http.get("/deadletters/jobs")).json()

    answer = await edge.http.post("/deadletters/redrive", json=body)

    assert (answer.json()["code"], 400 <= answer.status_code < 500) == (code, True)
    assert (await edge.http.get("/deadletters/jobs")).json() == before


async def test_a_letter_that_came_back_five_times_is_refused_at_once(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    ((id, _),) = await bury(store, webhook_subject(entity), redrives=5)

    refused = await edge.http.post("/deadletters/redrive", json={"id": id})
    forced = await edge.http.post("/deadletters/redrive", json={"id": id, "force": True})

    assert (refused.status_code, refused.json()["code"]) == (409, "redrive_refused")
    assert refused.json()["reason"] == "needs_force"
    assert forced.status_code == 202


async def test_what_an_endpoint_would_not_take_is_refused_at_once(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    session = await edge.session(
        delivery_method="webhook", webhook_url="http://127.0.0.1:9/hook", subjects=["job.nobody.>"]
    )
    await EndpointStore(store.connection).keep(session, EndpointState(state="disabled"))
    ((id, _),) = await bury(store, webhook_subject(session))

    one = await edge.http.post("/deadletters/redrive", json={"id": id})
    all_of_it = await edge.http.post("/deadletters/redrive", json={"filter": {"origin": "webhook", "name": session}})
    looked = await edge.http.post("/deadletters/redrive", json={"id": id, "dry_run": True})

    for refused in (one, all_of_it):
        assert (refused.status_code, refused.json()["code"]) == (409, "redrive_refused")
        assert refused.json()["reason"] == "endpoint_disabled"
    assert (await ended(edge, looked.json()["id"]))["reasons"] == {"endpoint_disabled": 1}


async def test_a_redrive_is_called_off(edge: RunningEdge, store: Broker, entity: str) -> None:
    await bury(store, webhook_subject(entity), 50)
    answer = await edge.http.post("/deadletters/redrive", json={"filter": {"name": entity}, "rate": 1})
    id = answer.json()["id"]

    called_off = await edge.http.delete(f"/deadletters/jobs/{id}")
    job = await ended(edge, id)
    again = await edge.http.delete(f"/deadletters/jobs/{id}")
    unknown = await edge.http.delete("/deadletters/jobs/nope")

    assert called_off.status_code == 202 and job["state"] == "cancelled"
    assert (again.status_code, again.json()["code"]) == (409, "redrive_ended")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "redrive_not_found")


# Purging


async def test_a_purge_deletes_what_its_filter_means_and_nothing_else(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await bury(store, webhook_subject(entity), 3, reason="gone")
    await bury(store, webhook_subject(entity), 2, reason="exhausted", detail="the needle")
    await bury(store, webhook_subject(entity), 1, reason="exhausted")

    async def purge(dry: bool = False, **chosen: str) -> dict[str, Any]:
        body = {"filter": {"name": entity, **chosen}, "dry_run": dry}
        answer = await edge.http.post("/deadletters/purge", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await purge(True, reason="gone") == {"purged": 0, "matched": 3, "dry_run": True, "next": None}
    assert await purge(True, text="needle") == {"purged": 0, "matched": 2, "dry_run": True, "next": None}
    assert await purge(reason="gone") == {"purged": 3, "matched": 3, "dry_run": False, "next": None}
    assert await purge(text="needle") == {"purged": 2, "matched": 2, "dry_run": False, "next": None}
    assert len(await listed(edge, name=entity)) == 1


async def test_a_long_purge_goes_on_where_it_ended(edge: RunningEdge, store: Broker, entity: str) -> None:
    await bury(store, actor_subject(entity), 40, data={"text": "x" * 500_000})
    body: dict[str, Any] = {"filter": {"name": entity, "text": "xxx"}}

    first = (await edge.http.post("/deadletters/purge", json=body)).json()
    late = await bury(store, actor_subject(entity), 1, data={"text": "xxx"})
    rest = []
    answer = first
    while answer["next"]:
        answer = (await edge.http.post("/deadletters/purge", json={**body, "cursor": answer["next"]})).json()
        rest.append(answer["purged"])

    assert 0 < first["purged"] < 40 and first["next"]
    assert first["purged"] + sum(rest) == 40
    # What was buried after it began is not part of it.
    assert await listed(edge, name=entity) == [late[0][0]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"filter": []}, "bad_filter"),
        ({"filter": {"x": "y"}}, "bad_filter"),
        ({"filter": {}, "all": True}, "unknown_field"),
        ({"filter": {"name": "nobody"}, "cursor": "o1"}, "bad_cursor"),
        ({"filter": {"name": "nobody"}, "cursor": 7}, "bad_cursor"),
        ({"filter": {"name": "nobody"}, "dry_run": 1}, "bad_body"),
    ],
)
async def test_a_bad_purge_is_refused(edge: RunningEdge, body: Any, code: str) -> None:
    answer = await edge.http.post("/deadletters/purge", json=body)

    assert (answer.json()["code"], 400 <= answer.status_code < 500) == (code, True)


# Being told


async def told(store: Broker, name: str) -> list[Event]:
    found: list[Event] = []
    after, more = 0, True
    while more:
        page = await store.read("system.deadletter.buried", after, 1000)
        found += [record.event for record in page.records if record.event and record.event.data.get("name") == name]
        more = page.more
        after = page.records[-1].sequence if page.records else after
    return found


async def all_told(store: Broker) -> bool:
    """Whether nothing is buried of which nobody has told."""
    try:
        info = await store.connection.api(f"CONSUMER.INFO.DEADLETTERS.{CONSUMER}")
    except Refused:
        return False
    return not info["num_pending"] and not info["num_ack_pending"]


@pytest.mark.slow
async def test_each_burial_is_told_and_counted_and_many_at_once_are_told_together(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await eventually(lambda: owns(edge))
    # What other tests have buried here is told first, and many at once would be told together with ours.
    # An edge that ended with some in hand leaves them for as long as JetStream waits for acknowledgements.
    await eventually(lambda: all_told(store))
    ((id, event),) = await bury(store, webhook_subject(entity), reason="gone", detail="it left")
    (news,) = await eventually(lambda: told(store, entity))

    many = f"many{entity}"
    await asyncio.gather(*(bury(store, actor_subject(many), reason="rejected") for _ in range(40)))
    await eventually(lambda: counted(store, many, 40))

    assert (news.type, news.cause) == ("deadletter_buried", event.id)
    assert {
        "id": id,
        "origin": "webhook",
        "reason": "gone",
        "detail": "it left",
        "count": 1,
    }.items() <= news.data.items()
    assert len(await told(store, many)) < 40
    assert 'edge_deadletters_total{origin="webhook",reason="gone"}' in (await edge.http.get("/metrics")).text


async def owns(edge: RunningEdge) -> bool:
    return "edge_deadletters_owner 1.0" in (await edge.http.get("/metrics")).text


async def counted(store: Broker, name: str, count: int) -> bool:
    return sum(event.data["count"] for event in await told(store, name)) >= count


async def test_the_burial_of_news_makes_no_news(edge: RunningEdge, store: Broker, entity: str) -> None:
    await eventually(lambda: owns(edge))
    about = Event.new(
        "system.deadletter.buried", {"name": entity, "count": 1, "first_id": 1, "last_id": 1}, type="deadletter_buried"
    )
    await DeadLetters(store).add(
        webhook_subject(entity), encode(about), origin=Origin("EVENTS", 1, STORED + about.subject), reason="gone"
    )
    await bury(store, webhook_subject(f"after{entity}"))

    await eventually(lambda: told(store, f"after{entity}"))

    assert await told(store, entity) == []


async def test_what_is_no_event_and_was_heard_is_buried(edge: RunningEdge, store: Broker, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await socket.control("ready")
        ack = await store.store(f"ev.job.{entity}.output", b"\xc1 garbage", {})
        await edge.numbers(entity, 1)
        await socket.events(1)

        (letter,) = await eventually(lambda: spoilt(edge, entity))

    assert (letter["origin"], letter["reason"], letter["from"]["sequence"]) == ("ingest", "decode_error", ack.sequence)
    assert letter["source"] == "edge"


async def spoilt(edge: RunningEdge, entity: str) -> list[dict[str, Any]]:
    query = {"origin": "ingest", "subject": f"job.{entity}.output"}
    return (await edge.http.get("/deadletters", params=query)).json()["deadletters"]
