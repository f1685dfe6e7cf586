"""A camera whose source dies, hangs, or comes to its end: what viewers are told, and how soon pictures are back."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.system.probe import Probe
from router.nats.embedded import free_port
from tests.actors.camera.scripted import Script, SourceClock, states, status
from tests.actors.camera.sources.films import numbered_film
from tests.actors.camera.sources.test_stream import rtsp_server
from tests.waiting import eventually


def camera_of(address: str, **settings: float) -> Probe:
    return Probe(lambda: Camera(CameraSettings(source=address, **settings)))  # type: ignore[arg-type]


async def test_a_film_without_loop_ends_told_once_and_begins_again_for_the_next_viewer(tmp_path: Path) -> None:
    film = numbered_film(tmp_path / "film.mp4", frames=5)
    async with camera_of(f"file:{film}?loop=no") as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: states(camera)[-1]["reason"] == "film.mp4 has ended")

        assert status(camera) == "idle"
        assert "failed" not in {state["status"] for state in states(camera)}
        seen = len(camera.frames)
        camera.set_viewers("camera", "main", 0)
        await eventually(lambda: states(camera)[-1]["reason"] is None)
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) > seen)


async def test_a_source_with_a_time_of_its_own_is_not_asked_by_ours_and_shown_at_the_rate_that_is_wanted(
    script: Script,
) -> None:
    script.paced, script.every = True, 0.02
    async with script.camera(SourceClock(script), fps=10.0) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: script.asked and script.asked[-1] >= 10)
        await eventually(lambda: len(camera.frames) >= 3)

        # Of five pictures one is shown.
        assert [script.asked.count(number) for number in range(2, 10)] == [5] * 8


async def test_a_source_that_has_nothing_new_is_asked_again_and_is_not_silent(script: Script) -> None:
    script.paced, script.every, script.nothing = True, 0.05, True
    async with script.camera(silence=1.0) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: script.grabbed >= 30)

        assert camera.frames == [] and script.opened == 1


@pytest.mark.slow
async def test_a_call_that_hangs_is_told_once_its_silence_is_over(script: Script) -> None:
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 3)
        script.hangs = script.hanging + 1
        await eventually(lambda: script.hanging == script.hangs)
        # The next opening may stream again at once.
        await eventually(lambda: "failed" in {state["status"] for state in states(camera)})
        script.released.set()

        reasons = {state["reason"] for state in states(camera)}
        assert "the source stopped answering for 2.7 s" in reasons
        await pictured(camera)


async def pictured(camera: Probe) -> None:
    seen = len(camera.frames)
    await eventually(lambda: len(camera.frames) > seen)


@pytest.mark.slow
async def test_a_server_that_dies_or_hangs_is_told_without_secrets_and_its_pictures_come_back_soon(
    tmp_path: Path,
) -> None:
    film, port = numbered_film(tmp_path / "film.mp4"), free_port()
    address = f"rtsp://some:hush@127.0.0.1:{port}/film?token=hush"
    async with camera_of(address) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: status(camera) == "failed")
        assert states(camera)[-1]["reason"] == f"127.0.0.1:{port} refuses the connection"
        with rtsp_server(film, port) as serving:
            await pictured(camera)
            await eventually(lambda: status(camera) == "streaming")

            os.kill(serving.pid, signal.SIGSTOP)
            stopped = time.monotonic()
            await eventually(lambda: status(camera) == "failed")
            # By the source itself, with its reason, before the supervision gave it up.
            assert "has sent nothing for 2.1 s" in states(camera)[-1]["reason"]
            # Meanwhile several attempts end in vain.
            await eventually(lambda: time.monotonic() - stopped > 7)
            os.kill(serving.pid, signal.SIGCONT)
            await pictured(camera)
            await eventually(lambda: status(camera) == "streaming")
        for _ in range(3):
            await eventually(lambda: status(camera) == "failed")
            with rtsp_server(film, port):
                await pictured(camera)
                await eventually(lambda: status(camera) == "streaming")

        assert camera.crashes == []
        assert "hush" not in str(camera.emitted) + str(camera.frames[-1][1])
