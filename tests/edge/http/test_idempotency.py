"""Repeats over HTTP: one's own are stored once and get the first answer, another's key or id means nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.edge.auth.conftest import SecuredEdge, SecuredFactory


@pytest.fixture
async def edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    """A secured edge with the usual settings."""
    async with secured() as running:
        yield running


async def post(edge: SecuredEdge, body: Any, key: str | None = None) -> httpx.Response:
    return await edge.http.post("/events", json=body, headers={"Idempotency-Key": key} if key else {})


async def stored(edge: SecuredEdge, entity: str) -> list[Any]:
    session = await edge.as_("reader", read=[">"]).session(subjects=[f"*.{entity}.>"], cursor="earliest")
    page = await edge.as_("reader", read=[">"]).poll(session, "?limit=1000")
    return [event["data"].get("n") for event in page["events"]]


async def test_the_same_key_of_two_principals_stores_two_events(edge: SecuredEdge, entity: str) -> None:
    alice, bob = (edge.as_(who, publish=[">"]) for who in ("alice", "bob"))

    first = await post(alice, {"subject": f"job.{entity}.output", "data": {"n": 1}}, "1")
    second = await post(bob, {"subject": f"job.{entity}.output", "data": {"n": 2}}, "1")
    again = await post(alice, {"subject": f"job.{entity}.output", "data": {"n": 1}}, "1")

    assert [answer.status_code for answer in (first, second, again)] == [201, 201, 201]
    assert first.json()["cursor"] != second.json()["cursor"] and first.json()["id"] != second.json()["id"]
    assert [first.json()[name] for name in ("id", "cursor")] == [again.json()[name] for name in ("id", "cursor")]
    assert again.json()["events"][0]["duplicate"] and not second.json()["events"][0]["duplicate"]
    assert await stored(edge, entity) == [1, 2]


async def test_the_same_id_of_two_principals_stores_two_events_under_that_id(edge: SecuredEdge, entity: str) -> None:
    alice, bob = (edge.as_(who, publish=[">"]) for who in ("alice", "bob"))

    answers = [
        await post(who, {"id": f"{entity}.1", "subject": f"job.{entity}.output", "data": {"n": n}})
        for n, who in enumerate((alice, bob))
    ]

    assert [answer.json()["id"] for answer in answers] == [f"{entity}.1"] * 2
    assert await stored(edge, entity) == [0, 1]


async def test_an_id_published_on_ones_own_subject_does_not_use_it_up_on_another(
    edge: SecuredEdge, entity: str
) -> None:
    mallory, worker = edge.as_("mallory", publish=["job.*.mine"]), edge.as_("worker", publish=["job.*.completed"])
    foreseeable = f"{entity}.completed"

    await post(mallory, {"id": foreseeable, "subject": f"job.{entity}.mine", "data": {"n": 1}})
    await post(worker, {"id": foreseeable, "subject": f"job.{entity}.completed", "data": {"n": 2}})

    assert await stored(edge, entity) == [1, 2]


@pytest.mark.parametrize("named", ["key", "id"])
@pytest.mark.parametrize(
    "change",
    [{"data": {"n": 2}}, {"type": "other"}, {"key": "k"}, {"source": "elsewhere"}, {"test": True}, {"cause": "c"}],
    ids=str,
)
async def test_another_body_under_a_used_key_or_id_is_refused(
    edge: SecuredEdge, entity: str, named: str, change: dict[str, Any]
) -> None:
    alice = edge.as_("alice", publish=[">"])
    event: dict[str, Any] = {"subject": f"job.{entity}.output", "data": {"n": 1}}
    if named == "id":
        event["id"] = entity
    key = entity if named == "key" else None

    first = await post(alice, event, key)
    refused = await post(alice, {**event, **change}, key)
    again = await post(alice, event, key)

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert again.status_code == 201 and again.json()["cursor"] == first.json()["cursor"]
    assert await stored(edge, entity) == [1]


async def test_another_subject_under_a_used_key_is_refused(edge: SecuredEdge, entity: str) -> None:
    alice = edge.as_("alice", publish=[">"])

    await post(alice, {"subject": f"job.{entity}.output", "data": {"n": 1}}, entity)
    refused = await post(alice, {"subject": f"agent.{entity}.output", "data": {"n": 1}}, entity)

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert await stored(edge, entity) == [1]


@pytest.mark.parametrize("size", [1, 2, 4], ids=["shorter", "changed", "longer"])
async def test_another_batch_under_a_used_key_is_refused_and_nothing_of_it_is_stored(
    edge: SecuredEdge, entity: str, size: int
) -> None:
    alice = edge.as_("alice", publish=[">"])
    batch = [{"subject": f"job.{entity}.output", "data": {"n": n}} for n in range(3)]
    other = [{"subject": f"job.{entity}.output", "data": {"n": n + 10 * (n > 0)}} for n in range(size)]

    await post(alice, batch, entity)
    refused = await post(alice, other, entity)

    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert await stored(edge, entity) == [0, 1, 2]


async def test_a_repeat_whose_maps_are_in_another_order_is_a_repeat(edge: SecuredEdge, entity: str) -> None:
    alice = edge.as_("alice", publish=[">"])

    first = await post(alice, {"subject": f"job.{entity}.output", "data": {"n": 1, "m": {"a": 1, "b": [2]}}}, entity)
    again = await post(alice, {"data": {"m": {"b": [2], "a": 1}, "n": 1}, "subject": f"job.{entity}.output"}, entity)

    assert again.status_code == 201 and again.json()["cursor"] == first.json()["cursor"]


async def test_the_rest_of_a_batch_is_stored_where_its_first_part_was_before(edge: SecuredEdge, entity: str) -> None:
    """As after a store that failed in between: the events that are there are repeats, the others are stored."""
    alice = edge.as_("alice", publish=[">"])
    batch = [{"id": f"{entity}.{n}", "subject": f"job.{entity}.output", "data": {"n": n}} for n in range(4)]

    await post(alice, batch[:2])
    answer = await post(alice, batch)

    assert [event["duplicate"] for event in answer.json()["events"]] == [True, True, False, False]
    assert await stored(edge, entity) == [0, 1, 2, 3]


async def test_of_two_bodies_under_one_key_at_once_one_is_stored_whichever_replica_is_asked(
    secured: SecuredFactory, entity: str
) -> None:
    async with secured() as one, secured() as other:
        replicas = [edge.as_("alice", publish=[">"]) for edge in (one, other)]

        answers = await asyncio.gather(
            *(post(replicas[n % 2], {"subject": f"job.{entity}.output", "data": {"n": n}}, entity) for n in range(8))
        )

        (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 201]
        assert {answer.json()["code"] for answer in answers if answer.status_code != 201} == {"idempotency_key_reused"}
        assert await stored(one, entity) == [winner]
