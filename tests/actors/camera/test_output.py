from __future__ import annotations

import threading

import numpy as np
import pytest

from actors.camera.actor import Camera
from actors.camera.output import EncodedPicture
from actors.camera.settings import CameraSettings
from actors.system.actor import Reject
from actors.system.probe import Probe
from router.rungs import Rung
from tests.actors.camera.scripted import Script
from tests.actors.camera.strips import of, strips
from tests.waiting import PATIENCE, eventually

SMALL = CameraSettings(width=320, height=240)
H264 = Rung("h264")


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
        return np.full((24, 32), script.grabbed, dtype=np.uint8).view(Telling)

    script.pixels = pixels
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 2)

    # Another picture may be looked at while the first one waits.
    assert overlapped and all(overlapped)


async def test_a_picture_that_cannot_be_encoded_is_a_bad_picture(script: Script) -> None:
    script.pixels = lambda: np.full((24, 32, 7 if script.grabbed == 2 else 3), script.grabbed % 256, dtype=np.uint8)
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)

        assert script.opened == 1
        assert (await camera.ask("describe"))["statistics"]["dropped"] >= 1


async def test_the_h264_rung_shows_the_picture_that_its_header_names() -> None:
    async with Probe(lambda: Camera(SMALL)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 10)

    headers = [header for header, _ in of(camera, "h264")]
    assert {subject for subject, _, _ in camera.frames} == {"frame.camera.main.h264"}
    assert strips([body for _, body in of(camera, "h264")]) == [header["seq"] for header in headers]
    assert [header["packet"] for header in headers] == list(range(len(headers)))
    assert [header["key"] for header in headers[:3]] == [True, False, False]
    first = headers[0]
    assert (first["format"], first["rung"], first["fresh"]) == ("h264", "h264", True)
    assert (first["width"], first["height"]) == (320, 240)
    assert first["codec"].startswith("avc1.")
    assert {header["life"] for header in headers} == {first["life"]}


async def test_only_watched_rungs_are_encoded_and_all_show_the_same_capture() -> None:
    async with Probe(lambda: Camera(CameraSettings(width=640, height=480))) as camera:
        for rung in ("jpeg-240", "h264-240", "h264-480", "png"):
            camera.set_viewers("camera", "main", 1, rung)
        await eventually(lambda: all(len(of(camera, rung)) > 2 for rung in ("jpeg-240", "h264-240", "h264-480", "png")))
        camera.set_viewers("camera", "main", 0, "h264-240")
        await eventually(lambda: camera.actor._output.rungs == {Rung("jpeg", 240), Rung("h264", 480), Rung("png")})  # type: ignore[attr-defined]
        before, pngs = len(of(camera, "h264-240")), len(of(camera, "png"))
        await eventually(lambda: len(of(camera, "png")) > pngs + 4)

    # One may have been under way.
    assert len(of(camera, "h264-240")) <= before + 1
    assert {header["rung"] for _, header, _ in camera.frames} == {"jpeg-240", "h264-240", "h264-480", "png"}
    assert {(header["width"], header["height"]) for header, _ in of(camera, "h264-240")} == {(320, 240)}
    times = {header["seq"]: header["time"] for header, _ in of(camera, "jpeg-240")}
    assert all(times.get(header["seq"], header["time"]) == header["time"] for header, _ in of(camera, "png"))


async def test_life_and_number_order_the_pictures_over_a_restart_of_the_actor(script: Script) -> None:
    orders: list[tuple[int, int]] = []
    for _ in range(2):
        async with script.camera() as camera:
            camera.set_viewers("camera", "main", 1)
            await eventually(lambda camera=camera: len(camera.frames) >= 3)
        orders += [(header["life"], header["seq"]) for _, header, _ in camera.frames]

    assert orders == sorted(set(orders))
    assert len({life for life, _ in orders}) == 2 and [seq for _, seq in orders].count(0) == 2


async def test_a_tap_keeps_a_rung_encoded_and_gets_its_pictures_until_it_is_released() -> None:
    seen: list[EncodedPicture] = []
    async with Probe(lambda: Camera(SMALL)) as camera:
        output = camera.actor._output  # type: ignore[attr-defined]
        release = output.tap(H264, seen.append)
        await eventually(lambda: len(seen) >= 5)
        release()
        release()
        await eventually(lambda: not output.wanted)

    assert strips([each.body for each in seen]) == [each.header["seq"] for each in seen]
    assert seen[0].header["key"] and {each.rung for each in seen} == {H264}


async def test_a_tap_of_a_running_stream_brings_a_key_at_once() -> None:
    seen: list[EncodedPicture] = []
    async with Probe(lambda: Camera(SMALL)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 5)
        camera.actor._output.tap(H264, seen.append)  # type: ignore[attr-defined]
        await eventually(lambda: len(seen) >= 5)

    assert any(each.header["key"] for each in seen[:3])


async def test_a_key_is_made_at_most_once_a_second_because_somebody_asks() -> None:
    async with Probe(lambda: Camera(SMALL)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 5)
        answers = [await camera.ask("key_frame", rung="h264") for _ in range(5)]
        before = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= before + 5)

        assert [answer["key"] for answer in answers] == [True, False, False, False, False]
        assert sum(header["key"] for header, _ in of(camera, "h264")[1:]) == 1
        assert (await camera.ask("key_frame", rung="jpeg"))["key"]
        assert not (await camera.ask("key_frame", rung="h264-720"))["key"]
        with pytest.raises(Reject):
            await camera.ask("key_frame", rung="h265")


async def test_lost_packets_make_the_next_picture_a_key() -> None:
    async with Probe(lambda: Camera(SMALL)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 3)
        camera.packets_arrive = False
        lost = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= lost + 3)

    assert any(header["key"] for header, _ in of(camera, "h264")[lost : lost + 3])


async def test_quality_and_rate_are_taken_up_with_a_key() -> None:
    async with Probe(lambda: Camera(SMALL)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 3)
        await camera.ask("set_quality", quality=20)
        await eventually(lambda: camera.frames[-1][1]["quality"] == 20)

    first = next(header for header, _ in of(camera, "h264") if header["quality"] == 20)
    assert first["key"]
    assert strips([body for _, body in of(camera, "h264")]) == [header["seq"] for header, _ in of(camera, "h264")]
