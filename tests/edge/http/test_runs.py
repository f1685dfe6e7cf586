"""Runs whose producers speak HTTP: heartbeats that keep them, requests to stop, and runs that are revived."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from router.broker import Broker
from router.codec import encode
from router.event import Event
from router.nats.bucket import Bucket
from router.nats.service import Endpoint, Request, Service
from router.runs import RunLedger
from router.topology import LEASES
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge


async def beat(edge: RunningEdge, run: str, **body: Any) -> httpx.Response:
    return await edge.http.post(f"/runs/{run}/lease", json=body)


async def send(edge: RunningEdge, subject: str, data: dict[str, Any] | None = None) -> httpx.Response:
    answer = await edge.http.post("/events", json={"subject": subject, "data": data or {}})
    assert answer.status_code == 201, answer.text
    return answer


async def lease_of(store: Broker, domain: str, run: str) -> dict[str, Any] | None:
    held = await Bucket(store.connection, LEASES).get(f"run.{domain}.{run}")
    return msgspec.json.decode(held.value) if held and held.value else None


async def fail(store: Broker, domain: str, run: str) -> Event:
    """What the agent actor does where no heartbeat came."""
    event = Event.new(f"{domain}.{run}.completion", {"success": False, "synthesized": True}, source="agent")
    await RunLedger(store).end(event, encode(event), synthesized=True)
    return event


async def stored(store: Broker, pattern: str) -> list[Event]:
    return [record.event for record in (await store.read(pattern, 0, 1000)).records if record.event]


async def test_a_heartbeat_holds_the_lease_of_the_run_that_was_begun(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    begun = (await send(edge, f"job.{entity}.workflow_start")).json()["incarnation"]

    answer = await beat(edge, entity)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "run": entity, "domain": "job", "incarnation": begun, "expires_in": 10.0, "stop": False, "reason": None,
        "revived": False,
    }  # fmt: skip
    assert await lease_of(store, "job", entity) == {"ttl": 10.0, "via": "http", "incarnation": begun}


async def test_a_heartbeat_of_a_run_that_nobody_began_makes_none(edge: RunningEdge, store: Broker, entity: str) -> None:
    answer = await beat(edge, entity)

    assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")
    assert await lease_of(store, "agent", entity) is None
    assert await RunLedger(store).read("agent", entity) is None


async def test_a_heartbeat_with_an_incarnation_may_come_before_the_start(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    first = await beat(edge, entity, ttl=30, incarnation="pod-1")
    begun = (await send(edge, f"agent.{entity}.workflow_start", {"incarnation": "pod-1"})).json()["incarnation"]
    second = await beat(edge, entity, ttl=30, incarnation=begun)

    assert (first.json()["domain"], first.json()["incarnation"]) == ("agent", "pod-1")
    assert (second.json()["incarnation"], second.json()["expires_in"]) == (begun, 30)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"ttl": 0.5}, "ttl"), ({"ttl": 301}, "ttl"), ({"ttl": "x"}, "ttl"), ({"domain": "camera"}, "domain"),
     ({"incarnation": 5}, "incarnation"), ({"color": "red"}, "color")],
)  # fmt: skip
async def test_a_bad_heartbeat_is_refused_with_its_field(
    edge: RunningEdge, store: Broker, entity: str, body: dict[str, Any], field: str
) -> None:
    answer = await beat(edge, entity, **body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert await lease_of(store, "agent", entity) is None


async def test_the_heartbeat_of_a_run_that_has_ended_is_told_so(edge: RunningEdge, store: Broker, entity: str) -> None:
    await send(edge, f"agent.{entity}.workflow_start")
    end = await send(edge, f"agent.{entity}.completion", {"success": True})

    answer = await beat(edge, entity)

    assert (answer.status_code, answer.json()["code"], answer.json()["ended_by"]) == (409, "run_over", end.json()["id"])
    assert await lease_of(store, "agent", entity) is None


async def test_the_heartbeat_of_an_earlier_life_is_told_that_another_one_lives(edge: RunningEdge, entity: str) -> None:
    for incarnation in ("pod-1", "pod-2"):
        await send(edge, f"agent.{entity}.workflow_start", {"incarnation": incarnation})

    old, new = [await beat(edge, entity, incarnation=incarnation) for incarnation in ("pod-1", "pod-2")]

    assert (old.status_code, old.json()["code"], old.json()["incarnation"]) == (409, "run_superseded", "pod-2")
    assert new.status_code == 200


@pytest.mark.parametrize("named", [True, False], ids=["with its incarnation", "without"])
async def test_a_producer_that_was_frozen_revives_its_run_by_its_next_heartbeat(
    edge: RunningEdge, store: Broker, entity: str, named: bool
) -> None:
    await send(edge, f"agent.{entity}.workflow_start", {"incarnation": "pod-1"})
    await send(edge, f"agent.{entity}.progress", {"progress": 0.6})
    failed = await fail(store, "agent", entity)
    mine = {"incarnation": "pod-1"} if named else {}

    # Sent twice at once, and again: as by a client that did not get the answer.
    answers = [*await asyncio.gather(*(beat(edge, entity, **mine) for _ in range(2))), await beat(edge, entity, **mine)]
    alive = answers[0].json()["incarnation"]
    await send(edge, f"agent.{entity}.progress", {"progress": 0.1})
    end = await send(edge, f"agent.{entity}.completion", {"success": True, "incarnation": alive})

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json()["revived"] is True and {answer.json()["incarnation"] for answer in answers} == {alive}
    events = await stored(store, f"agent.{entity}.>")
    assert [event.type for event in events] == [
        "workflow_start", "progress", "completion", "workflow_start", "progress", "completion",
    ]  # fmt: skip
    assert [events[2].id, events[5].id] == [failed.id, end.json()["id"]]
    assert events[3].data["resumed"] is True and events[3].data["incarnation"] == alive
    assert events[4].data["progress"] == 0.6


async def test_a_released_lease_is_gone_and_another_lifes_release_changes_nothing(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await send(edge, f"agent.{entity}.workflow_start", {"incarnation": "pod-2"})
    await beat(edge, entity)

    foreign = await edge.http.delete(f"/runs/{entity}/lease", params={"incarnation": "pod-1"})
    kept = await lease_of(store, "agent", entity)
    own = await edge.http.delete(f"/runs/{entity}/lease", params={"incarnation": "pod-2"})

    assert (foreign.status_code, own.status_code) == (204, 204)
    assert kept is not None and await lease_of(store, "agent", entity) is None


async def test_a_request_to_stop_is_in_the_answer_to_the_next_heartbeat(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await send(edge, f"job.{entity}.workflow_start")
    await beat(edge, entity)

    asked = await edge.http.post(f"/runs/{entity}/stop", json={"reason": "too dear"})
    answer = await beat(edge, entity)
    await send(edge, f"job.{entity}.completion", {"success": False, "status": "cancelled"})
    late = await edge.http.post(f"/runs/{entity}/stop", json={})

    assert (asked.status_code, asked.json()["via"], asked.json()["status"]) == (200, "http", "stopping")
    assert (answer.json()["stop"], answer.json()["reason"]) == (True, "too dear")
    assert (late.status_code, late.json()["code"]) == (409, "run_over")


async def test_a_run_that_nobody_holds_cannot_be_stopped(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.post(f"/runs/{entity}/stop", json={})

    assert answer.status_code in (404, 409) and answer.json()["code"] in ("run_not_found", "command_refused")


async def test_a_run_is_stopped_by_an_agent_actor_of_any_instance(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    asked: list[Any] = []

    def stop(request: Request) -> None:
        asked.append(request.arguments())
        request.answer({"status": "stopping", "via": "nats"})

    endpoint = Endpoint("stop", f"cmd.agent.{entity}.stop", stop)
    service = Service(
        broker.connection, "agent", "1.0.0", description="Runs.", endpoints=[endpoint], metadata={"instance": entity}
    )
    running = asyncio.ensure_future(service.run())
    await service.serving.wait()
    try:
        answer = await edge.http.post(f"/runs/{entity}/stop", json={"reason": "too dear"})
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert (answer.status_code, answer.json()["status"], answer.json()["via"]) == (200, "stopping", "nats")
    assert asked == [{"run": entity, "reason": "too dear"}]


async def test_rights_to_end_a_run_are_rights_to_its_lease_and_stop_is_a_command(
    secured: SecuredFactory, entity: str
) -> None:
    async with secured() as edge:
        owner = edge.as_("owner", publish=[f"job.{entity}.>"])
        other = edge.as_("other", publish=["job.other.>", f"job.{entity}.progress"])
        boss = edge.as_("boss", command=["agent.*.stop"])

        held = [
            await each.http.post(f"/runs/{entity}/lease", json={"incarnation": "pod-1"})
            for each in (owner, other, boss)
        ]
        named = await other.http.post(f"/runs/{entity}/lease", json={"domain": "job"})
        released = [await each.http.delete(f"/runs/{entity}/lease") for each in (other, owner)]
        await owner.http.post(f"/runs/{entity}/lease", json={"incarnation": "pod-1"})
        stopped = [await each.http.post(f"/runs/{entity}/stop", json={}) for each in (owner, boss)]
        told = await owner.http.post(f"/runs/{entity}/lease", json={"incarnation": "pod-1"})

    assert [answer.status_code for answer in held] == [200, 403, 403]
    assert held[0].json()["domain"] == "job"
    assert (named.status_code, named.json()["code"]) == (403, "not_granted")
    assert [answer.status_code for answer in released] == [403, 204]
    assert [answer.status_code for answer in stopped] == [403, 200]
    assert told.json()["stop"] is True


async def test_a_name_that_no_run_can_have_is_refused(edge: RunningEdge) -> None:
    for path in ("lease", "stop"):
        answer = await edge.http.post(f"/runs/{'x' * 300}/{path}", json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_subject")


async def test_a_run_whose_name_has_dots_is_found_by_that_name(edge: RunningEdge, store: Broker, entity: str) -> None:
    await send(edge, f"agent.{entity}=2E7.workflow_start")

    answer = await beat(edge, f"{entity}.7")

    assert answer.json()["run"] == f"{entity}.7" and answer.json()["incarnation"]
    assert await lease_of(store, "agent", f"{entity}=2E7") is not None
