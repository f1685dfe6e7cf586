"""Events that begin and end runs over HTTP: readers see one end of each life, and the losers are told who ended it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import Problem
from edge.http.batch import Accepted, EventDoor, is_end, is_independent, is_start, waves
from edge.http.sequenced import rule_of
from router.broker import Broker
from router.catalogue import all_types
from router.codec import encode
from router.errors import RunEnded, StoreFailed
from router.event import Event
from router.nats.stream import Ack
from router.runs import RunLedger
from router.store_health import StoreHealth
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.router.resharding import broker_of, reshard


@pytest.fixture
async def two(edge_factory: EdgeFactory) -> AsyncIterator[tuple[RunningEdge, RunningEdge]]:
    """Two replicas on one server."""
    async with edge_factory() as one, edge_factory() as other:
        yield one, other


async def send(edge: RunningEdge, subject: str, data: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return await edge.http.post("/events", json={"subject": subject, "data": data or {}, **more}, headers=headers)


async def stored(store: Broker, pattern: str) -> list[Event]:
    return [record.event for record in (await store.read(pattern, 0, 1000)).records if record.event]


async def test_of_four_finishers_at_once_one_ends_the_run_and_the_others_are_told_which(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    await send(two[0], f"agent.{entity}.workflow_start")

    answers = await asyncio.gather(
        *(
            send(two[n % 2], f"agent.{entity}.{kind}", {"success": n % 2 == 0, "n": n})
            for n, kind in enumerate(("completion", "completion", "complete", "done"))
        )
    )

    (_, end) = await stored(store, f"agent.{entity}.>")
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    for answer in answers:
        if answer.status_code == 409:
            problem = answer.json()
            assert (problem["code"], problem["ended_by"]) == ("run_over", end.id)
            assert problem["run_status"] == ("completed" if end.data["success"] else "failed")
            assert problem["synthesized"] is False and problem["ended_at"].endswith("Z")


async def test_a_repeat_of_the_end_is_a_duplicate_by_its_id_and_by_its_key_and_another_body_is_refused(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    named: tuple[tuple[str, dict[str, Any]], ...] = (
        (f"{entity}-id", {"id": f"{entity}.end"}),
        (f"{entity}-key", {"headers": {"Idempotency-Key": entity}}),
    )
    for run, more in named:
        first, again, other = [
            await send(edge, f"job.{run}.completion", {"success": success}, **more)
            for edge, success in ((two[0], True), (two[1], True), (two[1], False))
        ]

        assert (first.status_code, first.json()["duplicate"]) == (201, False)
        assert (again.status_code, again.json()["duplicate"]) == (201, True)
        assert (again.json()["id"], again.json()["cursor"]) == (first.json()["id"], first.json()["cursor"])
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert len(await stored(store, f"job.{run}.>")) == 1


async def test_a_crash_a_retry_and_a_late_success_leave_one_end(edge: RunningEdge, store: Broker, entity: str) -> None:
    """The producer's own end comes after the run was failed in its place."""
    ledger = RunLedger(store)
    await send(edge, f"agent.{entity}.workflow_start", {"incarnation": "one"})
    failed = Event.new(f"agent.{entity}.completion", {"success": False, "synthesized": True}, source="agent")
    await ledger.end(failed, encode(failed), synthesized=True)

    late = [await send(edge, f"agent.{entity}.completion", {"success": True}, id=f"{entity}.end") for _ in range(2)]

    assert [(answer.status_code, answer.json()["code"]) for answer in late] == [(409, "run_over")] * 2
    assert late[0].json()["synthesized"] is True
    assert [event.data["success"] for event in await stored(store, f"agent.{entity}.completion")] == [False]


async def test_of_all_finishers_at_once_every_reader_sees_one(
    two: tuple[RunningEdge, RunningEdge], store: Broker, entity: str
) -> None:
    """Two programs by the ledger, four clients by HTTP, of which one repeats itself, a crash, and a late success."""
    ledger = RunLedger(store)
    await send(two[0], f"agent.{entity}.workflow_start", {"incarnation": "one"})

    async def program(success: bool, synthesized: bool = False) -> bool:
        event = Event.new(f"agent.{entity}.completion", {"success": success, "synthesized": synthesized}, source="sdk")
        try:
            return not (await ledger.end(event, encode(event), synthesized=synthesized)).duplicate
        except RunEnded:
            return False

    async def client(number: int) -> bool:
        kind = ("completion", "done", "complete", "workflow_complete")[number % 4]
        answer = await send(two[number % 2], f"agent.{entity}.{kind}", {"success": True}, id=f"{entity}.{number}")
        assert answer.status_code in (201, 409), answer.text
        return answer.status_code == 201 and not answer.json()["duplicate"]

    sessions = [await edge.session(subjects=[f"agent.{entity}.*"]) for edge in two]
    async with two[0].socket(sessions[0]) as socket, two[1].sse(sessions[1]) as sse:
        await socket.control("ready")
        won = await asyncio.gather(
            program(True), program(False), program(False, synthesized=True), *(client(n) for n in (0, 1, 2, 3, 3))
        )
        assert await client(7) is False  # the late one
        await send(two[0], f"agent.{entity}.output", {"n": 1})
        heard = [await socket.events(2), await sse.events(2)]

    assert won.count(True) == 1
    assert len(await stored(store, f"agent.{entity}.>")) == 3
    assert [[event["event_type"] for event in each][1] for each in heard] == ["output"] * 2


async def test_a_start_begins_a_life_and_is_answered_with_its_incarnation(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    named = await send(edge, f"agent.{entity}.workflow_start", {"incarnation": "pod-1"})
    await send(edge, f"agent.{entity}.completion", {"success": True, "incarnation": "pod-1"})
    unnamed = await send(edge, f"agent.{entity}.workflow_start", {"name": "again"})
    old = await send(edge, f"agent.{entity}.completion", {"success": False, "incarnation": "pod-1"})
    end = await send(
        edge, f"agent.{entity}.completion", {"success": True, "incarnation": unnamed.json()["incarnation"]}
    )

    assert named.json()["incarnation"] == named.json()["events"][0]["incarnation"] == "pod-1"
    assert unnamed.json()["incarnation"] == unnamed.json()["id"]
    assert (old.status_code, old.json()["code"]) == (409, "run_superseded")
    assert old.json()["incarnation"] == unnamed.json()["id"]
    assert end.status_code == 201
    assert [event.data["success"] for event in await stored(store, f"agent.{entity}.completion")] == [True, True]


async def test_a_start_that_is_repeated_begins_no_second_life(edge: RunningEdge, store: Broker, entity: str) -> None:
    starts = [await send(edge, f"job.{entity}.workflow_start", id=f"{entity}.1") for _ in range(2)]

    entry = await RunLedger(store).read("job", entity)

    assert [answer.json()["duplicate"] for answer in starts] == [False, True]
    assert entry is not None and entry.incarnation == f"{entity}.1" and entry.earlier == ()


async def test_a_batch_with_an_end_inside_keeps_its_order(edge: RunningEdge, store: Broker, entity: str) -> None:
    runs = (f"agent.{entity}-a", f"agent.{entity}-b")
    batch = [
        {"subject": f"{run}.{kind}", "data": {"n": n}}
        for n, (run, kind) in enumerate(
            (run, kind)
            for kind in ("workflow_start", "output", "output", "completion", "workflow_start", "output", "completion")
            for run in runs
        )
    ]

    await edge.publish(*batch)

    assert [event.data["n"] for event in await stored(store, f"agent.{entity}-a.>")] == list(range(0, 14, 2))
    assert [event.data["n"] for event in await stored(store, f"agent.{entity}-b.>")] == list(range(1, 14, 2))


async def test_a_batch_whose_end_comes_too_late_says_what_of_it_is_stored(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await send(edge, f"agent.{entity}.completion", {"success": True})
    batch = [
        {"subject": f"agent.{entity}.{kind}", "data": {"n": n}}
        for n, kind in enumerate(("output", "output", "completion", "output"))
    ]

    answer = await edge.http.post("/events", json=batch)

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["index"], problem["stored"]) == (409, "run_over", 2, 2)
    assert [event.data["n"] for event in await stored(store, f"agent.{entity}.output")] == [0, 1]


async def test_a_job_whose_progress_says_completed_has_ended(edge: RunningEdge, store: Broker, entity: str) -> None:
    for status in ("processing", "completed"):
        assert (await send(edge, f"job.{entity}.job_progress", {"status": status, "progress": 1.0})).status_code == 201
    late = await send(edge, f"job.{entity}.job_progress", {"status": "failed", "progress": 1.0})

    assert (late.status_code, late.json()["run_status"]) == (409, "completed")
    assert len(await stored(store, f"job.{entity}.>")) == 2


async def test_outside_of_runs_an_event_may_be_called_completion_as_often_as_one_likes(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for _ in range(2):
        assert (await send(edge, f"camera.{entity}.completion")).status_code == 201

    assert len(await stored(store, f"camera.{entity}.>")) == 2


async def test_two_principals_with_the_same_id_are_two_finishers(
    secured: SecuredFactory, store: Broker, entity: str
) -> None:
    async with secured() as edge:
        answers = [
            await edge.as_(who, publish=[">"]).http.post(
                "/events",
                json={"id": f"{entity}.end", "subject": f"job.{entity}.completion", "data": {"success": True}},
            )
            for who in ("alice", "bob")
        ]

    assert [answer.status_code for answer in answers] == [201, 409]
    assert len(await stored(store, f"job.{entity}.>")) == 1


def plain(entity: str, count: int) -> list[Accepted]:
    made = [Event.new(f"job.{entity}.said", {"n": number}) for number in range(count)]
    return [Accepted(event, encode(event)) for event in made]


async def test_events_that_depend_on_nothing_leave_in_one_write(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, writes, send_all = EventDoor(broker, StoreHealth(broker)), [], broker.connection.send_all
    await door.store(plain(entity, 2))
    monkeypatch.setattr(
        broker.connection, "send_all", lambda messages: writes.append(len(messages)) or send_all(messages)
    )

    receipts = await door.store(plain(entity, 10))

    assert writes == [10]
    sequences = [receipt.ack.sequence for receipt in receipts]
    assert sequences == sorted(sequences)
    assert [event.data["n"] for event in await stored(broker, f"job.{entity}.said")] == [0, 1, *range(10)]


async def test_a_batch_that_the_store_stops_taking_says_how_many_of_it_are_stored(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = StoreHealth(broker)

    async def stops(broker: Broker, many: Any, answers: list[Any]) -> None:
        answers[0] = Ack(7, False)
        raise StoreFailed("storage_full", "EVENTS", "no space left")

    monkeypatch.setattr("edge.http.batch.store_all", stops)
    with pytest.raises(Problem) as told:
        await EventDoor(broker, health).store(plain(entity, 3))

    assert (told.value.code, told.value.more["index"], told.value.more["stored"]) == ("storage_full", 1, 1)


async def test_a_list_is_refused_for_a_missing_shard_that_one_of_its_events_goes_to_and_for_no_other(
    own_nats: str,
) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 2)
        health, layout = StoreHealth(broker), broker.layout
        door = EventDoor(broker, health)
        entities = {layout.shard_of(f"job.e{number}.said").index: f"e{number}" for number in range(20)}
        await broker.stream(layout.current.shards[0].stream).remove()
        await health.look(active=False)

        assert len(await door.store(plain(entities[1], 3))) == 3
        with pytest.raises(Problem) as told:
            await door.store(plain(entities[1], 1) + plain(entities[0], 1))
        assert (told.value.code, told.value.more["stored"]) == ("stream_missing", 0)


DATA = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["completed", "failed"])
_kinds = st.sampled_from(["output", "progress", "completion", "workflow_start", "job_progress"])


@given(st.lists(st.tuples(st.sampled_from("abc"), _kinds), max_size=30), st.booleans())
def test_a_batch_is_cut_into_parts_that_may_be_sent_at_once(said: list[tuple[str, str]], alone: bool) -> None:
    events = [Event.new(f"job.{run}.{kind}", {"progress": 0.5}) for run, kind in said]

    parts = list(waves(events, alone=alone))

    assert [place for start, end in parts for place in range(start, end)] == list(range(len(events)))
    for start, end in parts:
        kinds = [kind for _, kind in said[start:end]]
        assert end - start == 1 or not {"completion", "workflow_start"} & set(kinds)
        for place in range(start, end):
            run, kind = said[place]
            if "progress" in kind:
                assert all(other != run for other, _ in said[place + 1 : end])
    if alone and events:
        assert parts[0] == (0, 1)
    if not any(kind != "output" for _, kind in said) and not alone:
        assert len(parts) == min(1, len(events))


@given(
    st.sampled_from(["job", "agent", "thread", "camera", "shop"]),
    st.sampled_from(sorted({each.name for each in all_types()} | {"unheard_of"})),
    st.dictionaries(
        st.sampled_from(["value", "delta", "status", "parent_id", "success", "impressions", "metrics"]), DATA
    ),
)
def test_an_event_is_independent_where_nothing_is_to_be_asked_before_it_is_stored(
    domain: str, kind: str, data: dict[str, Any]
) -> None:
    event = Event.new(f"{domain}.1.{kind}", data)

    assert is_independent(event) == (not is_start(event) and not is_end(event) and rule_of(event) is None)
