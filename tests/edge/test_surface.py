"""The surface as a whole: the description is true, foreign pages are kept out, health and metrics tell."""

from __future__ import annotations

import re

import pytest
import websockets

from edge.app import openapi as document
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def test_answers_have_the_shape_that_is_described(edge: RunningEdge, entity: str) -> None:
    schemas = document()["components"]["schemas"]
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)
    page = await edge.poll(session)
    for name, shown in (
        ("Session", (await edge.http.get(f"/callbacks/sessions/{session}")).json()),
        ("Stats", await edge.stats(session)),
        ("Page", page),
        ("Event", page["events"][0]),
        ("Problem", (await edge.http.get("/nope")).json()),
    ):
        assert set(schemas[name]["required"]) <= set(shown), name
        assert set(shown) <= set(schemas[name]["properties"]), name


async def test_unknown_paths_and_methods_are_problems(edge: RunningEdge) -> None:
    missing = await edge.http.get("/nope")
    wrong = await edge.http.put("/events")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


async def test_a_page_of_a_foreign_origin_is_refused_and_one_from_loopback_is_not(edge: RunningEdge) -> None:
    foreign = await edge.http.get("/runs", headers={"Origin": "https://evil.example"})
    null = await edge.http.get("/runs", headers={"Origin": "null"})
    local = await edge.http.get("/runs", headers={"Origin": "http://localhost:5173"})
    preflight = await edge.http.options(
        "/events", headers={"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    )

    assert [foreign.status_code, null.status_code, local.status_code, preflight.status_code] == [403, 403, 200, 204]
    assert local.headers["access-control-allow-origin"] == "http://localhost:5173"
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(
            f"ws://127.0.0.1:{edge.port}/cameras/main/ws", origin="https://evil.example"
        ).__aenter__()


async def test_a_name_rebound_to_loopback_is_refused(edge: RunningEdge) -> None:
    answer = await edge.http.get("/runs", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (421, "forbidden_host")


async def test_health_and_metrics_tell(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await edge.numbers(entity, 3)
        await socket.events(3)
        ready = await edge.http.get("/readyz")
        text = (await edge.http.get("/metrics")).text
        openmetrics = await edge.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (await edge.http.get("/livez")).json() == {"status": "ok"}
    assert ready.json()["checks"] == {
        "not_draining": True,
        "nats": True,
        "subscriptions": True,
        "events": True,
        "sessions": True,
        "store": True,
    }
    assert 'edge_delivered_events_total{transport="websocket"}' in text
    assert 'edge_readers{transport="websocket"} 1.0' in text
    assert openmetrics.text.rstrip().endswith("# EOF")


async def test_the_console_is_served_under_a_strict_policy(edge: RunningEdge) -> None:
    page = await edge.http.get("/")

    assert page.status_code == 200 and "Callboard" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for asset in set(re.findall(r'"(/console/[^"]+)"', page.text)):
        assert (await edge.http.get(asset)).status_code == 200, asset


async def test_pictures_reach_mjpeg_snapshot_and_socket(edge: RunningEdge, store: Broker, entity: str) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming", "simulated": True}))
    jpeg = b"\xff\xd8" + b"x" * 2000 + b"\xff\xd9"
    frame = pack(
        {"seq": 1, "time": 1.5, "width": 4, "height": 3, "format": "jpeg", "source": "test", "simulated": True}, jpeg
    )
    subject = frame_subject("camera", entity)
    await store.frame(subject, frame)
    await store.connection.flush()

    snapshot = await edge.http.get(f"/cameras/{entity}/snapshot")
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws") as socket:
        first = await socket.recv()
        await store.frame(subject, frame)
        second = await socket.recv()
    async with edge.http.stream("GET", f"/cameras/{entity}/mjpeg") as stream:
        body = b""
        async for part in stream.aiter_raw():
            body += part
            if jpeg in body:
                break

    assert (snapshot.status_code, snapshot.headers["content-type"], snapshot.content) == (200, "image/jpeg", jpeg)
    assert first == second == frame
    assert b"--callboard-frame\r\nContent-Type: image/jpeg" in body
    cameras = (await edge.http.get("/cameras")).json()["cameras"]
    assert {"id": entity, "status": "streaming", "simulated": True}.items() <= next(
        c for c in cameras if c["id"] == entity
    ).items()


async def test_watching_holds_a_lease_and_leaving_gives_it_back(edge: RunningEdge, store: Broker, entity: str) -> None:
    from router.nats.bucket import Bucket

    bucket = Bucket(store.connection, "LEASES")

    async def leases() -> list[str]:
        return [entry.key for entry in await bucket.entries(f"view.camera.{entity}.*")]

    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/cameras/{entity}/ws"):
        await eventually(lambda: _equals(leases, 1))
    await eventually(lambda: _equals(leases, 0))


async def _equals(count, expected: int) -> bool:  # type: ignore[no-untyped-def]
    return len(await count()) == expected


async def test_an_unknown_camera_or_run_is_a_404(edge: RunningEdge) -> None:
    for path, code in (
        ("/cameras/nope/snapshot", "camera_not_found"),
        ("/octane/nope/mjpeg", "octane_not_found"),
        ("/runs/nope", "run_not_found"),
    ):
        answer = await edge.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_runs_and_alerts_show_the_latest_state(edge: RunningEdge, store: Broker, entity: str) -> None:
    for progress in (0.1, 0.6):
        await store.publish(Event.new(f"job.{entity}.state", {"status": "running", "progress": progress}))
    await store.publish(Event.new(f"alert.{entity}.firing", {"severity": "warning", "title": "Too hot"}))

    run = (await edge.http.get(f"/runs/{entity}")).json()
    alerts = (await edge.http.get("/alerts")).json()["alerts"]

    assert (run["run"], run["domain"], run["progress"]) == (entity, "job", 0.6)
    assert entity in [each["run"] for each in (await edge.http.get("/runs?limit=1000")).json()["runs"]]
    assert next(a for a in alerts if a["rule"] == entity)["status"] == "firing"


async def test_alerts_of_one_rule_about_two_entities_are_both_shown(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    for about, kind in (("left", "firing"), ("right", "firing"), ("left", "resolved")):
        await store.publish(Event.new(f"alert.{entity}.{kind}", {"entity": about, "severity": "info"}))

    alerts = [a for a in (await edge.http.get("/alerts?limit=1000")).json()["alerts"] if a["rule"] == entity]

    assert [(a["entity"], a["status"]) for a in alerts] == [("left", "resolved"), ("right", "firing")]
