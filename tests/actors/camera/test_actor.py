from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.simulated import read_strip
from actors.system.actor import Reject
from actors.system.probe import Probe
from tests.actors.camera.scripted import Script, states, status
from tests.waiting import eventually


async def test_a_viewer_sees_the_simulated_picture_whose_strip_is_its_header_s_number() -> None:
    async with Probe(Camera) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 10)

        seen = [read_strip(np.asarray(Image.open(BytesIO(jpeg)))) for _, _, jpeg in camera.frames[:10]]
        headers = [header for _, header, _ in camera.frames[:10]]
        assert {subject for subject, _, _ in camera.frames} == {"frame.camera.main"}
        assert [strip and strip[0] for strip in seen] == [header["seq"] for header in headers] == list(range(10))
        assert [strip and strip[1] for strip in seen] == [int(header["time"]) % 2**32 for header in headers]
        first = headers[0]
        assert (first["width"], first["height"], first["format"]) == (640, 480, "jpeg")
        assert (first["source"], first["simulated"], first["quality"]) == ("simulated", True, 85)
        await eventually(lambda: status(camera) == "streaming")
    assert status(camera) == "idle"


async def test_quality_and_rate_change_while_streaming(script: Script) -> None:
    async with script.camera(fps=0.1) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) == 1)

        answer = await camera.ask("set_fps", fps=60)
        assert answer["fps"] == 60.0
        await eventually(lambda: len(camera.frames) >= 5)
        await camera.ask("set_quality", quality=10)
        await eventually(lambda: camera.frames[-1][1]["quality"] == 10)

        await eventually(lambda: states(camera)[-1]["quality"] == 10)
        assert states(camera)[-1]["fps"] == 60.0
        assert status(camera) == "streaming"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("set_fps", {"fps": 0}),
        ("set_fps", {"fps": 1000}),
        ("set_fps", {"fps": math.nan}),
        ("set_fps", {"fps": "fast"}),
        ("set_quality", {"quality": 0}),
        ("set_quality", {"quality": 100}),
        ("set_quality", {"quality": 7.5}),
    ],
)
async def test_a_command_out_of_range_is_refused_and_changes_nothing(
    script: Script, command: str, arguments: dict[str, Any]
) -> None:
    async with script.camera() as camera:
        with pytest.raises(Reject):
            await camera.ask(command, **arguments)

        described = await camera.ask("describe")
        assert (described["fps"], described["quality"]) == (30.0, 85)
        assert camera.crashes == []


async def test_a_missing_file_is_told_and_played_once_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    async with Probe(lambda: Camera(CameraSettings(source=str(path)))) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: status(camera) == "failed")
        assert states(camera)[-1]["reason"] == "there is no video file film.mkv"
        assert str(tmp_path) not in str(states(camera))

        with av.open(str(tmp_path / "made.mkv"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 200, 100, "yuv420p"
            container.mux(stream.encode(av.VideoFrame(200, 100, "yuv420p")))
            container.mux(stream.encode())
        (tmp_path / "made.mkv").rename(path)
        await eventually(lambda: status(camera) == "streaming")

        header = camera.frames[0][1]
        assert (header["source"], header["simulated"]) == ("file", False)
        assert (header["width"], header["height"]) == (200, 100)
        assert (states(camera)[-1]["width"], states(camera)[-1]["file"]) == (200, "film.mkv")
