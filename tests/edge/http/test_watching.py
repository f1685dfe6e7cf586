"""A viewer is told what its source does, and a source that is gone is not streamed."""

from __future__ import annotations

import pytest

from edge.presence import DEAD
from router.broker import Broker
from tests.edge.conftest import RunningEdge
from tests.edge.transports.video.pictures import SocketViewer, watching
from tests.presences import PlayedActor
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("quickly_settled")


async def told(viewer: SocketViewer, status: str) -> dict[str, object]:
    """The message that tells a status; one that was told again comes before it."""
    while (said := await viewer.control("state"))["status"] != status:
        pass
    return said


def status_is(edge: RunningEdge, entity: str, status: str) -> bool:
    assert edge.edge is not None
    state = edge.edge.presence.known("camera", entity)
    return state is not None and state.status == status


async def test_a_viewer_is_told_when_the_state_of_its_camera_changes_and_when_it_is_gone(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("idle")
    await eventually(lambda: status_is(either, entity, "idle"))

    async with watching(either, entity) as viewer:
        assert (await viewer.control("ready"))["status"] == "idle"
        await actor.say("streaming")
        assert (await told(viewer, "streaming"))["reason"] is None
        await actor.say("failed", reason="there is no video file a.mp4")
        assert (await told(viewer, "failed"))["reason"] == "there is no video file a.mp4"
        await actor.die()
        gone = await told(viewer, "gone")
        assert gone["reason"] == DEAD and gone["since"]
        await actor.begin()
        await actor.say("idle")
        await told(viewer, "idle")

    assert either.edge is not None
    await eventually(lambda: f"camera.{entity}" not in either.edge.presence._listeners)


async def test_mjpeg_of_a_camera_that_is_gone_is_refused_with_503(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("streaming")
    await eventually(lambda: status_is(either, entity, "streaming"))
    await actor.die()
    await eventually(lambda: status_is(either, entity, "gone"))

    for path in ("mjpeg", "stream.mp4"):
        refused = await either.http.get(f"/cameras/{entity}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (503, "camera_gone"), path
        assert refused.headers["retry-after"] == "5" and refused.json()["reason"] == DEAD


async def test_a_socket_to_a_camera_that_is_gone_says_so_first(either: RunningEdge, store: Broker, entity: str) -> None:
    actor = PlayedActor(store, entity)
    await actor.begin()
    await actor.say("streaming")
    await eventually(lambda: status_is(either, entity, "streaming"))
    await actor.die()
    await eventually(lambda: status_is(either, entity, "gone"))

    async with watching(either, entity) as viewer:
        assert (await viewer.control("ready"))["status"] == "gone"


async def test_a_viewer_is_told_the_rungs_of_the_codecs_that_the_camera_names(
    either: RunningEdge, store: Broker, entity: str
) -> None:
    await PlayedActor(store, entity).say("streaming", codecs=["jpeg", "png", "av1"])
    await eventually(lambda: status_is(either, entity, "streaming"))

    async with watching(either, entity, "?format=h264") as viewer:
        ready = await viewer.control("ready")

    assert (ready["rung"], ready["rungs"]) == ("h264", ["jpeg", "jpeg-720", "jpeg-480", "jpeg-240"])
