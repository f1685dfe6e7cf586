"""Cameras and Octanes exist as long as their actors live and a day after, and those that died are said to be gone, once."""

from __future__ import annotations

from typing import Any

import pytest

from edge import presence
from edge.presence import EntityState, Presence
from router.broker import Broker
from router.event import Event
from router.states import StateStore
from router.topology import EVENTS
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.presences import PlayedActor
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("quickly_settled")


def of(edge: RunningEdge) -> Presence:
    assert edge.edge is not None
    return edge.edge.presence


async def listed(edge: RunningEdge, entity: str, domain: str = "cameras") -> dict[str, Any] | None:
    found = (await edge.http.get(f"/{domain}")).json()[domain]
    return next((each for each in found if each["id"] == entity), None)


async def states(store: Broker, entity: str, domain: str = "camera") -> list[dict[str, Any]]:
    page = await store.read(f"{domain}.{entity}.state", 0)
    return [dict(record.event.data) for record in page.records if record.event]


def status_is(edge: RunningEdge, entity: str, status: str) -> bool:
    state = of(edge).known("camera", entity)
    return state is not None and state.status == status


async def test_a_camera_whose_process_died_is_gone_and_both_edges_tell_it_by_one_event(
    edge: RunningEdge, edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("streaming", width=64, height=48)
    heard: list[EntityState] = []
    async with edge_factory() as other:
        for each in (edge, other):
            of(each).listen("camera", entity, heard.append)
            await eventually(lambda: status_is(each, entity, "streaming"))

        await actor.die()

        for each in (edge, other):
            await eventually(lambda: status_is(each, entity, "gone"))
        await eventually(lambda: gone_is_stored(store, entity))
        told = await states(store, entity)
        assert [each["status"] for each in told] == ["streaming", "gone"]
        assert told[1]["reason"] == presence.DEAD and told[1]["width"] == 64 and told[1]["since"]
    shown = await listed(edge, entity)
    assert shown is not None and (shown["status"], shown["width"]) == ("gone", 64)
    assert [state.status for state in heard][-2:] == ["gone", "gone"]


async def gone_is_stored(store: Broker, entity: str) -> bool:
    entry = (await StateStore(store).read("camera", entity)).entry
    return entry is not None and entry.gone is not None


async def test_a_new_life_is_not_overwritten_by_the_end_of_the_one_before(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    before, after = PlayedActor(store, entity, life=1), PlayedActor(store, entity, life=2)
    await before.begin()
    await before.say("streaming")
    await eventually(lambda: status_is(edge, entity, "streaming"))

    await before.die()
    await eventually(lambda: status_is(edge, entity, "gone"))
    await eventually(lambda: gone_is_stored(store, entity))
    await after.begin()
    await after.say("idle")

    await eventually(lambda: status_is(edge, entity, "idle"))
    # Whoever still takes the former life for gone changes nothing.
    assert not await StateStore(store).declare_gone("camera", entity, "too late", 1)
    assert [each["status"] for each in await states(store, entity)] == ["streaming", "gone", "idle"]
    assert status_is(edge, entity, "idle")


async def test_an_edge_that_starts_while_a_camera_is_dead_shows_it_as_gone(
    edge_factory: EdgeFactory, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.say("streaming", quality=85)

    async with edge_factory() as edge:
        shown = await listed(edge, entity)
        assert shown is not None and (shown["status"], shown["reason"]) == ("gone", presence.DEAD)
        await eventually(lambda: gone_is_stored(store, entity))
    assert [each["status"] for each in await states(store, entity)] == ["streaming", "gone"]


async def test_a_living_camera_is_listed_when_its_events_are_not_kept_any_more(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle", fps=30.0)
    await store.stream(EVENTS).purge(f"ev.camera.{entity}.>")

    shown = await eventually(lambda: listed(edge, entity))

    assert (shown["status"], shown["fps"], shown["life"]) == ("idle", 30.0, 1)
    async with edge.http.stream("GET", f"/cameras/{entity}/mjpeg") as stream:
        assert stream.status_code == 200
    await actor.die()
    await eventually(lambda: status_is(edge, entity, "gone"))
    refused = await edge.http.get(f"/cameras/{entity}/mjpeg")
    assert (refused.status_code, refused.json()["code"]) == (503, "camera_gone")
    answer = await edge.http.get(f"/cameras/{entity}x/snapshot")
    assert (answer.status_code, answer.json()["code"]) == (404, "camera_not_found")


async def test_an_octane_whose_actor_is_dead_is_gone_too(edge: RunningEdge, store: Broker, entity: str) -> None:
    actor = PlayedActor(store, entity, domain="octane")
    await actor.begin()
    await actor.say("connected", version="2026.1", simulated=False)
    assert (await eventually(lambda: listed(edge, entity, "octanes")))["status"] == "connected"

    await actor.die()

    async def is_gone() -> bool:
        shown = await listed(edge, entity, "octanes")
        return shown is not None and (shown["status"], shown["version"]) == ("gone", "2026.1")

    await eventually(is_gone)


async def test_a_program_that_publishes_its_own_states_is_believed(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}, source="my-camera"))

    found = await of(edge).find("camera", entity)

    assert found is not None and (found.status, found.life, found.gone) == ("streaming", None, False)


async def test_what_an_earlier_version_left_of_a_camera_is_gone(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}, source="camera"))

    found = await of(edge).find("camera", entity)
    assert found is not None and (found.status, found.reason) == ("gone", presence.UNKNOWN)

    long_ago = Event.new(f"camera.{entity}-2.state", {"status": "idle"}, source="camera", time_ns=10**18)
    await store.publish(long_ago)
    assert await of(edge).find("camera", f"{entity}-2") is None


async def test_who_has_stopped_listening_is_not_called(edge: RunningEdge, store: Broker, entity: str) -> None:
    heard: list[str] = []
    stop = of(edge).listen("camera", entity, lambda state: heard.append(state.status))
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle")
    await eventually(lambda: heard == ["idle"])

    stop()
    stop()
    await actor.say("streaming")
    await eventually(lambda: status_is(edge, entity, "streaming"))

    assert heard == ["idle"]
