"""What octaneWebR's clients ask over HTTP: whether an Octane is connected, what was sent of it, and what is not forwarded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.actor import Octane
from edge.surfaces.octanes import INSTEAD
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject
from tests.actors.octane.simulation import LONG
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import EdgeFactory, RunningEdge, keep_picture
from tests.edge.surfaces.octanes import watched_octane
from tests.edge.surfaces.viewports import picture, viewport
from tests.waiting import eventually


async def test_health_is_that_of_the_octane_with_the_reason_why_it_is_not_well(
    edge_factory: EdgeFactory, own_nats: str
) -> None:
    async with edge_factory(nats=own_nats) as edge:

        async def health(path: str = "/api/health") -> dict[str, object]:
            answer = await edge.http.get(path)
            # Its client opens no WebSocket otherwise, and then waits for an Octane that may come later.
            assert answer.status_code == 200
            return dict(answer.json())

        nobody = await health()
        async with watched_octane(own_nats, replace(LONG, images_per_second=5.0)):

            async def well() -> bool:
                return (await health())["status"] == "ok"

            await eventually(well)
            ok = await health()
            named = await health("/api/health?octane=main")
        gone = await health()
        unknown = await edge.http.get("/api/health?octane=other")

    assert (nobody["status"], nobody["octane"], nobody["state"]) == ("unhealthy", "disconnected", "absent")
    assert (ok["status"], ok["octane"], ok["server"], ok["simulated"]) == ("ok", "connected", "callboard", True)
    assert ok["id"] == named["id"] == "main" and str(ok["timestamp"]).startswith("20")
    assert (gone["status"], gone["octane"]) == ("unhealthy", "disconnected") and gone["reason"]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "octane_not_found")


async def test_an_octane_whose_actor_was_killed_is_not_called_well(edge_factory: EdgeFactory, own_nats: str) -> None:
    async with edge_factory(nats=own_nats) as edge:
        assert edge.edge is not None
        await edge.edge.broker.publish(Event.new("octane.main.state", {"status": "connected"}))

        said = (await edge.http.get("/api/health")).json()

    assert (said["status"], said["state"]) == ("unhealthy", "absent") and "no octane actor runs" in said["reason"]


async def test_the_octane_is_main_or_else_the_first_there_is(edge_factory: EdgeFactory, own_nats: str) -> None:
    async with edge_factory(nats=own_nats) as edge:
        assert edge.edge is not None
        for name in ("studio-2", "studio-1"):
            await edge.edge.broker.publish(Event.new(f"octane.{name}.state", {"status": "connected"}))
        first = (await edge.http.get("/api/health")).json()
        await edge.edge.broker.publish(Event.new("octane.main.state", {"status": "connected"}))
        main = (await edge.http.get("/api/health")).json()

    assert (first["id"], main["id"]) == ("studio-1", "main")


async def test_who_names_no_octane_has_one_that_is_granted(secured: SecuredFactory, store: Broker, entity: str) -> None:
    for name in (f"a-{entity}", entity):
        await store.publish(Event.new(f"octane.{name}.state", {"status": "absent"}))

    async with secured() as edge:
        mine = await edge.as_("me", read=[f"octane.{entity}.*"]).http.get("/api/health")
        nothing = await edge.as_("other", read=["octane.other.>"]).http.get("/api/health")

    assert (mine.json()["id"], nothing.status_code) == (entity, 403)


async def test_the_status_counts_what_was_sent(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    await keep_picture(store, frame_subject("octane", entity, "beauty"), picture())
    path = f"/render/callback-status?octane={entity}"

    before = (await edge.http.get(path)).json()
    async with viewport(edge, f"?octane={entity}") as client:
        await client.send(type="subscribe")
        await client.picture()
        during = (await edge.http.get(path)).json()

    async def left() -> bool:
        return (await edge.http.get(path)).json()["active_clients"] == 0

    await eventually(left)
    after = (await edge.http.get(path)).json()
    assert (before["callback_count"], before["last_callback_time"], before["total_clients"]) == (0, None, 0)
    assert (during["active_clients"], during["total_clients"], during["queue_size"]) == (1, 1, 0)
    assert after["callback_count"] == 1 and after["last_callback_time"] > 1.7e9
    assert (after["callback_id"], after["stream_errors"], after["total_clients"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("ApiRenderEngine/pauseRendering", "/commands/octane/main/pause"),
        ("ApiRenderEngineService/setRenderRegion", "/commands/octane/main/set_region"),
        ("LiveLink/SetCamera", "/commands/octane/main/set_camera"),
        ("ApiNode/create", "GET /commands"),
    ],
)
async def test_there_is_no_grpc_gateway_and_what_there_is_instead_is_said(
    edge: RunningEdge, method: str, words: str
) -> None:
    answer = await edge.http.post(f"/api/grpc/{method}", json={"handle": 1})

    said = answer.json()
    service, _, name = method.partition("/")
    assert (answer.status_code, said["code"], said["service"], said["method"]) == (
        404,
        "no_grpc_gateway",
        service,
        name,
    )
    # As its client shows it.
    assert words in said["error"] == said["detail"]


def test_each_command_that_is_named_instead_is_one_of_an_octane_s() -> None:
    assert set(INSTEAD.values()) <= set(Octane().commands())


async def test_health_needs_the_right_to_the_state(secured: SecuredFactory, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    path = f"/api/health?octane={entity}"

    async with secured() as edge:
        nobody = await edge.http.get(path)
        other = await edge.as_("other", read=["octane.other.>"]).http.get(path)
        granted = await edge.as_("me", read=[f"octane.{entity}.*"]).http.get(path)

    assert (nobody.status_code, other.status_code, granted.status_code) == (401, 403, 200)
