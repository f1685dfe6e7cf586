from __future__ import annotations

import pytest

from actors.camera.actor import Camera
from actors.camera.pump import BAD_IN_A_ROW, LEFT_BEHIND
from actors.camera.settings import CameraSettings
from actors.camera.sources.source import BadPicture, LoginRefused
from actors.system.probe import Probe
from tests.actors.camera.scripted import Script, Scripted, states, status
from tests.waiting import eventually


async def test_the_capture_lingers_after_the_last_viewer_and_then_closes_the_source(script: Script) -> None:
    async with script.camera(linger=3.0) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 2)
        camera.set_viewers("camera", "main", 0)
        grabbed = script.grabbed
        await eventually(lambda: status(camera) == "idle" and len(states(camera)) >= 3)

        assert script.grabbed > grabbed + 10
        assert (script.opened, script.closed) == (1, 1)


async def test_viewers_that_come_and_go_within_the_linger_share_one_capture(script: Script) -> None:
    async with script.camera(linger=600.0) as camera:
        for count in (1, 2, 1, 0, 1, 10):
            camera.set_viewers("camera", "main", count)
            seen, grabbed = len(camera.frames), script.grabbed
            # Without a viewer the capture goes on, and nothing is encoded.
            await eventually(
                lambda count=count, seen=seen, grabbed=grabbed: (
                    len(camera.frames) >= seen + 2 if count else script.grabbed >= grabbed + 5
                )
            )

        # One encoding for ten.
        assert script.opened == 1
        numbers = [header["seq"] for _, header, _ in camera.frames]
        assert len(numbers) == len(set(numbers)) < script.grabbed
        assert [state["status"] for state in states(camera)] == ["idle", "streaming"]


async def test_a_camera_that_was_idle_streams_again_for_the_next_viewer(script: Script) -> None:
    async with script.camera(linger=0.0) as camera:
        for opening in (1, 2, 3):
            before = len(camera.frames)
            camera.set_viewers("camera", "main", 1)
            await eventually(lambda before=before: len(camera.frames) > before)
            camera.set_viewers("camera", "main", 0)
            await eventually(lambda opening=opening: script.closed == opening)

        numbers = [header["seq"] for _, header, _ in camera.frames]
        assert numbers == sorted(set(numbers))


async def test_a_bad_picture_is_counted_and_the_next_one_is_shown(script: Script) -> None:
    script.faults = [None, BadPicture("torn"), OSError(5, "io"), None, ValueError("odd"), None]
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)

        described = await camera.ask("describe")
        assert script.opened == 1
        assert described["statistics"]["dropped"] >= 3
        assert "failed" not in {state["status"] for state in states(camera)}


async def test_bad_pictures_in_a_row_open_the_source_anew_until_it_is_well(script: Script) -> None:
    script.fault = BadPicture("no light")
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: script.opened >= 2)
        assert states(camera)[-1]["reason"] == f"{BAD_IN_A_ROW} bad pictures in a row; the last: no light"
        assert status(camera) == "failed"

        script.fault = None
        await eventually(lambda: status(camera) == "streaming")

        assert states(camera)[-1]["reason"] is None
        assert len(camera.frames) >= 1
        assert camera.crashes == []


async def test_a_crash_in_a_driver_is_told_as_a_failure_and_healed(script: Script) -> None:
    script.faults = [None, RuntimeError("a secret of the driver")]
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: script.opened >= 2 and status(camera) == "streaming")

        failed = [state for state in states(camera) if state["status"] == "failed"]
        assert len(failed) == 1
        assert "secret" not in failed[0]["reason"]


async def test_a_hung_grab_is_dead_after_the_silence_and_the_next_opening_does_not_wait_for_it(script: Script) -> None:
    script.hangs = 1
    async with script.camera(silence=3.0) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 3)

        # The first thread still hangs while the second one streams.
        assert script.hanging == 1
        assert script.opened == 2
        assert script.closed == 0
        assert [state["status"] for state in states(camera)[:3]] == ["idle", "failed", "streaming"]
        script.released.set()
        await eventually(lambda: script.closed == 1)


@pytest.mark.slow
async def test_no_more_threads_hang_than_a_few(script: Script) -> None:
    script.hangs = 1000
    camera = Camera(CameraSettings(silence=1.0), script.source)
    async with Probe(lambda: camera) as probe:
        probe.set_viewers("camera", "main", 1)
        await eventually(lambda: any("hang;" in str(state["reason"]) for state in states(probe)))

        assert script.opened == LEFT_BEHIND
        script.hangs = 0
        script.released.set()
        await eventually(lambda: status(probe) == "streaming")


async def test_waiting_for_a_viewer_is_no_silence(script: Script) -> None:
    async with script.camera(silence=1.0) as camera:
        waited = camera.clock.now() + 2.5
        await eventually(lambda: camera.clock.now() > waited)

        assert [state["status"] for state in states(camera)] == ["idle"]
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 1)


async def test_a_slow_rate_is_no_silence(script: Script) -> None:
    async with script.camera(silence=3.0, fps=0.2) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 2)

        assert script.opened == 1


@pytest.mark.slow
async def test_a_login_that_is_refused_is_tried_more_and_more_seldom(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other faults are tried again after a second at most.
    monkeypatch.setattr("actors.camera.pump.LOGIN_PAUSE", 1.5)

    class Locked(Scripted):
        def open(self) -> None:
            script.opened += 1
            opened.append(camera.clock.now())
            if script.unavailable:
                raise LoginRefused(script.unavailable)

    opened: list[float] = []
    script.unavailable = "cam:80 refuses the login"
    camera = Probe(lambda: Camera(CameraSettings(silence=1.0), lambda address, settings: Locked(script)))
    async with camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: script.opened >= 3)

        assert states(camera)[-1]["reason"] == "cam:80 refuses the login" and status(camera) == "failed"
        assert opened[1] - opened[0] >= 1.5 and opened[2] - opened[1] >= 3
        script.unavailable = ""
        await eventually(lambda: status(camera) == "streaming")
        # One state while it was refused, however often.
        assert [state["status"] for state in states(camera)] == ["idle", "failed", "streaming"]
