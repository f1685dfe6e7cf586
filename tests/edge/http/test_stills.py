"""A still shows what is captured after it was asked for, says when that was, and says why where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import pytest
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.source import Picture
from edge.http import stills
from router.broker import Broker
from router.cluster.leases import lease_key
from router.frame import frame_subject, pack
from router.nats.bucket import Bucket
from tests.actors.camera.scripted import Script, Scripted
from tests.actors.system.running import running_actor
from tests.edge.conftest import RunningEdge, keep_picture
from tests.presences import HOLDER, PlayedActor
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("quickly_settled")


class Still(Scripted):
    """A source that has captured one picture, long ago, and gives it again and again."""

    def grab(self, seq: int) -> Picture:
        return replace(super().grab(seq), time=1000.0, fresh=seq == 0)


@contextlib.asynccontextmanager
async def running_camera(store: Broker, entity: str, **settings: object) -> AsyncIterator[None]:
    """A real actor of a simulated camera, with the lease that its process would hold."""
    # Larger than the lowest rung, so that a still of that would be seen.
    chosen = CameraSettings(width=480, height=360, **settings)  # type: ignore[arg-type]
    await Bucket(store.connection, "LEASES").put(lease_key("actor", "camera", entity), HOLDER, 600)
    async with running_actor(lambda: Camera(chosen), store, instance=entity):
        await eventually(lambda: store.latest([f"camera.{entity}.state"]))
        yield


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG")])
async def test_a_still_of_an_idle_camera_is_captured_after_the_request(
    edge: RunningEdge, store: Broker, entity: str, suffix: str, kind: str
) -> None:
    async with running_camera(store, entity):
        # An old one is there, which is not to be taken.
        old = pack({"seq": 1, "life": 1, "time": time.time() * 1000 - 20_000, "format": "jpeg"}, b"old")
        await keep_picture(store, frame_subject("camera", entity), old)
        asked = time.time()
        answer = await edge.http.get(f"/cameras/{entity}/still.{suffix}?download")

    assert answer.status_code == 200, answer.text
    image = Image.open(BytesIO(answer.content))
    assert (image.format, image.size) == (kind, (480, 360))
    captured = datetime.fromisoformat(answer.headers["x-capture-time"]).timestamp()
    assert captured >= asked and answer.headers["x-simulated"] == "true"
    assert 0 <= int(answer.headers["age"]) <= time.time() - captured
    life, seq = map(int, answer.headers["x-frame"].split("."))
    assert life > asked * 1000 - 60_000 and seq >= 0
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{entity}-20')
    assert answer.headers["content-disposition"].endswith(f'Z.{suffix}"')


async def test_stills_while_streaming_are_each_a_new_capture(edge: RunningEdge, store: Broker, entity: str) -> None:
    async with running_camera(store, entity, fps=20.0):
        seen = [(await edge.http.get(f"/cameras/{entity}/still.jpg")).headers["x-frame"] for _ in range(4)]

    assert len(set(seen)) == 4


async def test_a_snapshot_shows_no_picture_that_is_older_than_a_second(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    async with running_camera(store, entity):
        old = pack({"seq": 1, "life": 1, "time": time.time() * 1000 - 1_500, "format": "jpeg"}, b"old")
        await keep_picture(store, frame_subject("camera", entity), old)
        asked = time.time()
        answer = await edge.http.get(f"/cameras/{entity}/snapshot")

    assert answer.status_code == 200 and answer.content != b"old"
    assert datetime.fromisoformat(answer.headers["x-capture-time"]).timestamp() >= asked - 1.0


async def test_a_snapshot_shows_a_picture_of_the_last_second_and_opens_nothing(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "STILL_SECONDS", 0.1)
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle")

    async def shown() -> bool:
        # On a busy machine a second may pass before the request is read: then another picture is kept.
        young = pack({"seq": 7, "life": 3, "time": time.time() * 1000, "format": "jpeg"}, b"young")
        await store.frame(frame_subject("camera", entity), young)
        answer = await edge.http.get(f"/cameras/{entity}/snapshot")
        return answer.status_code == 200 and answer.content == b"young"

    await eventually(shown)


async def test_max_age_allows_an_older_picture_and_opens_nothing(edge: RunningEdge, store: Broker, entity: str) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle")
    captured = time.time() - 5.0
    old = pack({"seq": 7, "life": 3, "time": captured * 1000, "format": "jpeg"}, b"old")
    await keep_picture(store, frame_subject("camera", entity), old)

    answer = await edge.http.get(f"/cameras/{entity}/still.jpg?max_age=25")

    assert (answer.status_code, answer.content, answer.headers["x-frame"]) == (200, b"old", "3.7")
    assert 5 <= int(answer.headers["age"]) <= 25
    assert abs(datetime.fromisoformat(answer.headers["x-capture-time"]).timestamp() - captured) < 0.01
    refused = await edge.http.get(f"/cameras/{entity}/still.jpg?max_age=-1")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_parameter")


async def test_where_no_picture_comes_the_still_says_why(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "STILL_SECONDS", 0.3)
    monkeypatch.setattr(stills, "FAILED_SECONDS", 0.3)

    async def problem() -> tuple[int, str, str]:
        answer = await edge.http.get(f"/cameras/{entity}/still.jpg")
        return answer.status_code, answer.json()["code"], answer.json()["detail"]

    assert (await problem())[:2] == (404, "camera_not_found")
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle")
    assert edge.edge is not None
    presence = edge.edge.presence
    await eventually(lambda: presence.known("camera", entity))
    assert (await problem())[:2] == (504, "no_capture")

    await actor.say("failed", reason="there is no video file a.mp4")
    await eventually(lambda: presence.known("camera", entity).status == "failed")
    assert await problem() == (503, "camera_failed", "the camera's source has failed: there is no video file a.mp4")

    await actor.die()
    await eventually(lambda: presence.known("camera", entity).gone)
    assert (await problem())[:2] == (503, "camera_gone")
    for path in ("snapshot", "still.png"):
        answer = await edge.http.get(f"/cameras/{entity}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "camera_gone")


async def test_a_still_that_waits_is_told_at_once_that_its_camera_is_gone(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle", fps=0.1)
    assert edge.edge is not None
    presence = edge.edge.presence
    await eventually(lambda: presence.known("camera", entity))

    waiting = asyncio.ensure_future(edge.http.get(f"/cameras/{entity}/still.jpg"))
    await eventually(lambda: presence._listeners)
    await actor.die()
    answer = await waiting

    assert (answer.status_code, answer.json()["code"]) == (503, "camera_gone")


async def test_a_source_that_stands_still_is_not_shown_as_a_new_capture(
    edge: RunningEdge, store: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "STILL_SECONDS", 1.0)
    monkeypatch.setattr(stills, "FAILED_SECONDS", 0.1)
    script = Script()
    await Bucket(store.connection, "LEASES").put(lease_key("actor", "camera", entity), HOLDER, 600)
    async with running_actor(
        lambda: Camera(CameraSettings(fps=20.0), lambda *_: Still(script)), store, instance=entity
    ):
        await eventually(lambda: store.latest([f"camera.{entity}.state"]))
        answer = await edge.http.get(f"/cameras/{entity}/still.jpg")

    assert answer.status_code == 504
