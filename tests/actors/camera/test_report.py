from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.system.probe import Probe
from tests.actors.camera.scripted import Script, statistics, status
from tests.waiting import eventually


async def test_without_viewers_the_source_stays_closed_and_the_camera_says_that_it_is_idle(script: Script) -> None:
    async with script.camera(silence=1.0) as camera:
        await eventually(lambda: status(camera) == "idle")
        described = await camera.ask("describe")

        assert script.opened == 0
        assert camera.frames == []
        assert described["id"] == "main"
        assert described["status"] == "idle"
        assert described["fps"] == 30.0


async def test_the_rate_holds_and_is_told_about_once_a_second() -> None:
    # A slow rate, which any machine holds; `python -m ops.bench` measures what this one can do.
    async with Probe(lambda: Camera(CameraSettings(fps=5.0, linger=0.0))) as camera:
        camera.set_viewers("camera", "main", 3)

        def held() -> list[Mapping[str, Any]]:
            # Any second will do: the machine may be busy with other things for one of them.
            return [told for told in statistics(camera)[1:] if 4 <= told["fps"] <= 6 and told["jitter_ms"] < 200]

        told = (await eventually(held))[-1]
        assert told["viewers"] == 3
        assert told["frames"] >= 5
        assert told["bytes_per_second"] > 20_000 * 4
        assert set(told["drops"]) == {"late", "bad", "encoder", "broker"}
        assert (told["rungs"]["jpeg"]["viewers"], 4 <= told["capture_fps"] <= 6) == (3, True)

        # At rest, nothing of it is left standing.
        camera.set_viewers("camera", "main", 0)
        await eventually(lambda: status(camera) == "idle" and statistics(camera)[-1]["fps"] == 0.0)
        last = statistics(camera)[-1]
        assert (last["capture_fps"], last["bytes_per_second"], last["viewers"], last["rungs"]) == (0.0, 0, 0, {})
