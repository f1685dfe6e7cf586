"""Entities with metrics: whole over HTTP, and followed by their changes without a gap."""

from __future__ import annotations

from typing import Any

from actors.metrics.actor import Metrics, MetricsSettings
from router.broker import Broker
from router.entity import apply
from router.event import Event
from tests.actors.system.running import running_actor
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def _say(store: Broker, subject: str, data: dict[str, Any]) -> None:
    await store.publish(Event.new(subject, data))


def state(entity: str, version: int, **values: float) -> dict[str, Any]:
    return {"entity": entity, "version": version, "values": values, "updated": "2026-01-01T00:00:00Z"}


async def test_an_entity_is_its_newest_snapshot_with_its_newest_change(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await _say(store, f"metric.{entity}.state", {**state(entity, 3, a=1, b=2), "entity_type": "campaign"})
    await _say(store, f"metric.{entity}.changed", {"entity": entity, "base": 3, "version": 4, "values": {"a": 5}})
    await _say(
        store, f"metric.{entity}.changed", {"entity": entity, "base": 3, "version": 5, "values": {"a": 5, "b": None}}
    )
    await _say(store, f"metric.{entity}-2.state", state(f"{entity}-2", 1, a=1))

    one = (await edge.http.get(f"/entities/{entity}")).json()
    listed = (await edge.http.get("/entities?limit=2")).json()

    assert (one["entity"], one["entity_type"], one["version"], one["values"]) == (entity, "campaign", 5, {"a": 5})
    assert [each["entity"] for each in listed["entities"]] == [f"{entity}-2", entity]
    assert listed["total"] >= 2 and listed["cursor"] == listed["entities"][0]["cursor"]
    # Both are of this store; events of others may have come between the two requests.
    assert one["cursor"].split("-")[1] == listed["cursor"].split("-")[1] and one["cursor"] <= listed["cursor"]
    typed = (await edge.http.get("/entities?entity_type=campaign&limit=1000")).json()["entities"]
    assert entity in [each["entity"] for each in typed] and f"{entity}-2" not in [each["entity"] for each in typed]


async def test_a_snapshot_that_is_newer_than_the_change_is_the_state(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await _say(store, f"metric.{entity}.changed", {"entity": entity, "base": 1, "version": 2, "values": {"a": 5}})
    answer = await edge.http.get(f"/entities/{entity}")
    assert (answer.status_code, answer.json()["code"]) == (404, "entity_not_found")
    await _say(store, f"metric.{entity}.state", state(entity, 2, a=6))

    assert (await edge.http.get(f"/entities/{entity}")).json()["values"] == {"a": 6}


async def test_a_client_reads_the_whole_and_follows_the_changes_of_a_running_actor(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    def make() -> Metrics:
        kind = type("OwnMetrics", (Metrics,), {"name": f"metrics-{entity}", "subjects": (f"metric.{entity}.*",)})
        return kind(MetricsSettings(interval=0.05, snapshot_every=3600.0))

    async def clicks(number: int) -> None:
        data = {"campaignId": entity, "metrics": {"clicks": number, "spend": 1}}
        await edge.publish({"subject": f"metric.{entity}.campaign_metrics", "data": data})

    async with running_actor(make, store):
        await clicks(1)
        await eventually(lambda: _has(edge, entity, 1))
        # Later than the snapshot: the whole has this as well.
        await clicks(2)
        await eventually(lambda: _has(edge, entity, 2))
        whole = (await edge.http.get(f"/entities/{entity}")).json()
        session = await edge.session(subjects=[f"metric.{entity}.changed"])
        async with edge.socket(session, f"?cursor={whole['cursor']}") as socket:
            for number in range(3, 30):
                await clicks(number)
            found: Any = whole
            while found["values"]["clicks"] < 29:
                (event,) = await socket.events(1)
                found = apply(found, event["data"])
                assert found is not None and found["version"] == event["data"]["version"]

        assert found["values"] == {"clicks": 29, "spend": 1} and found["version"] > whole["version"]
        # A late joiner has the same, from the snapshot of the stream.
        late = await edge.session(subjects=[f"metric.{entity}.state", f"metric.{entity}.changed"], cursor="snapshot")
        parts = [event["data"] for event in (await edge.poll(late))["events"]]
        assert [("base" in part) for part in parts] == [False, True]
        assert apply(*parts)["values"] == found["values"]  # type: ignore[index]


async def _has(edge: RunningEdge, entity: str, clicks: int) -> bool:
    answer = await edge.http.get(f"/entities/{entity}")
    return answer.status_code == 200 and answer.json()["values"].get("clicks") == clicks


async def test_campaigns_that_share_a_subject_are_listed_each_for_itself(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for part, clicks in (("c-1", 1), ("c-2", 2)):
        data = {**state(entity, 1, clicks=clicks), "part": part, "entity_type": "campaign"}
        await _say(store, f"metric.{entity}.{part}.state", data)
    changed = {"entity": entity, "part": "c-2", "base": 1, "version": 2, "values": {"clicks": 3}}
    await _say(store, f"metric.{entity}.c-2.changed", changed)

    listed = (await edge.http.get("/entities?entity_type=campaign&limit=2")).json()["entities"]
    assert [(each["entity"], each["part"], each["values"]) for each in listed] == [
        (entity, "c-2", {"clicks": 3}),
        (entity, "c-1", {"clicks": 1}),
    ]
    assert (await edge.http.get(f"/entities/{entity}/c-2")).json() == listed[0]
    for path in (f"/entities/{entity}", f"/entities/{entity}/c-3"):
        assert (await edge.http.get(path)).status_code == 404
