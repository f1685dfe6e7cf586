from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from actors.camera.actor import BAD_IN_A_ROW, LEFT_BEHIND, Camera, CameraSettings
from actors.camera.sources.simulated import read_strip
from actors.camera.sources.source import BadPicture, CameraSource, Picture, SourceUnavailable
from actors.system.actor import Reject
from actors.system.probe import Probe
from tests.waiting import PATIENCE, eventually


class Scripted:
    """A source that grabs grey pictures, and hangs, fails or spoils pictures on request."""

    kind = "simulated"
    simulated = True

    def __init__(self, script: Script) -> None:
        self._script = script

    def open(self) -> None:
        self._script.opened += 1
        if self._script.unavailable:
            raise SourceUnavailable(self._script.unavailable)

    def grab(self, seq: int) -> Picture:
        if self._script.hangs and self._script.hanging < self._script.hangs:
            self._script.hanging += 1
            assert self._script.released.wait(5 * PATIENCE)
        fault = self._script.faults.pop(0) if self._script.faults else self._script.fault
        if fault is not None:
            raise fault
        self._script.grabbed += 1
        return Picture(self._script.pixels(), 1000.0 * seq)

    def close(self) -> None:
        self._script.closed += 1


class Script:
    """What all openings of one scripted source share."""

    def __init__(self) -> None:
        self.opened = self.grabbed = self.closed = self.hanging = 0
        self.unavailable = ""
        self.faults: list[Exception | None] = []
        self.fault: Exception | None = None
        self.hangs = 0
        self.released = threading.Event()
        self.pixels: Callable[[], np.ndarray] = lambda: np.full((24, 32), 128, dtype=np.uint8)

    def source(self, setting: str, width: int, height: int) -> CameraSource:
        return Scripted(self)

    def camera(self, **settings: Any) -> Probe:
        return Probe(lambda: Camera(CameraSettings(**settings), self.source))


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.released.set()


def states(camera: Probe) -> list[Mapping[str, Any]]:
    return [data for subject, data in camera.emitted if subject == "camera.main.state"]


def status(camera: Probe) -> str:
    return str(states(camera)[-1]["status"]) if states(camera) else ""


def statistics(camera: Probe) -> list[Mapping[str, Any]]:
    return [data for subject, data in camera.emitted if subject == "camera.main.statistics"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 0.05},
        {"fps": 241},
        {"fps": math.nan},
        {"fps": True},
        {"fps": "30"},
        {"quality": 0},
        {"quality": 96},
        {"quality": 85.5},
        {"width": 10},
        {"height": 100_000},
        {"linger": -1},
        {"silence": 0},
        {"source": ""},
    ],
)
def test_a_setting_out_of_range_is_named_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} must be") as refused:
        CameraSettings(**wrong)

    assert "\n" not in str(refused.value)


async def test_without_viewers_the_source_stays_closed_and_the_camera_says_that_it_is_idle(script: Script) -> None:
    async with script.camera(silence=1.0) as camera:
        await eventually(lambda: status(camera) == "idle")
        described = await camera.ask("describe")

        assert script.opened == 0
        assert camera.frames == []
        assert described["id"] == "main"
        assert described["status"] == "idle"
        assert described["fps"] == 30.0


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


async def test_the_rate_holds_and_is_told_about_once_a_second() -> None:
    # A slow rate, which any machine holds; `python -m ops.bench` measures what this one can do.
    async with Probe(lambda: Camera(CameraSettings(fps=5.0))) as camera:
        camera.set_viewers("camera", "main", 3)

        def held() -> list[Mapping[str, Any]]:
            # Any second will do: the machine may be busy with other things for one of them.
            return [told for told in statistics(camera)[1:] if 4 <= told["fps"] <= 6 and told["jitter_ms"] < 200]

        told = (await eventually(held))[-1]
        assert told["viewers"] == 3
        assert told["frames"] >= 5
        assert told["bytes_per_second"] > 20_000 * 4
        assert set(told) == {"fps", "frames", "bytes_per_second", "jitter_ms", "viewers", "dropped"}


async def test_the_next_picture_is_grabbed_while_one_is_encoded(script: Script) -> None:
    next_began = threading.Event()
    overlapped: list[bool] = []

    class Telling(np.ndarray):  # type: ignore[type-arg]
        """A picture whose encoding waits until the next grab has begun."""

        @property
        def ndim(self) -> int:
            if not overlapped:
                overlapped.append(next_began.wait(PATIENCE))
            return 2

    def pixels() -> np.ndarray:
        if script.grabbed == 2:
            next_began.set()
        return np.zeros((24, 32), dtype=np.uint8).view(Telling)

    script.pixels = pixels
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 3)

    assert overlapped == [True]


async def test_the_capture_lingers_after_the_last_viewer_and_then_closes_the_source(script: Script) -> None:
    async with script.camera(linger=3.0) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 2)
        camera.set_viewers("camera", "main", 0)
        left = len(camera.frames)
        await eventually(lambda: status(camera) == "idle" and len(states(camera)) >= 3)

        assert len(camera.frames) > left
        assert (script.opened, script.closed) == (1, 1)


async def test_viewers_that_come_and_go_within_the_linger_share_one_capture(script: Script) -> None:
    async with script.camera(linger=600.0) as camera:
        for count in (1, 2, 1, 0, 1, 10):
            camera.set_viewers("camera", "main", count)
            before = len(camera.frames)
            await eventually(lambda before=before: len(camera.frames) >= before + 2)

        # One encoding for ten: as many frames as pictures, but for the one that is under way.
        assert script.opened == 1
        assert script.grabbed - len(camera.frames) <= 2
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


async def test_a_bad_picture_is_counted_and_the_next_one_is_shown(script: Script) -> None:
    script.faults = [None, BadPicture("torn"), OSError(5, "io"), None, ValueError("odd"), None]
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)

        described = await camera.ask("describe")
        assert script.opened == 1
        assert described["statistics"]["dropped"] >= 3
        assert "failed" not in {state["status"] for state in states(camera)}


async def test_a_picture_that_cannot_be_encoded_is_a_bad_picture(script: Script) -> None:
    script.pixels = lambda: np.zeros((24, 32, 7 if script.grabbed == 2 else 3), dtype=np.uint8)
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)

        assert script.opened == 1
        assert (await camera.ask("describe"))["statistics"]["dropped"] >= 1


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
