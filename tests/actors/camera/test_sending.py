from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actors.camera import sending
from actors.camera.renditions.encoders import Encoded
from actors.camera.report import CameraReport
from actors.camera.sending import PictureSender
from actors.camera.sources.source import Packet, Picture
from tests.actors.camera.packets import EncodedCard, camera_of, jpeg
from tests.actors.camera.scripted import Script, states, status
from tests.actors.camera.strips import of, strips
from tests.waiting import eventually


async def test_a_jpeg_of_the_source_is_passed_on_byte_by_byte_and_decoded_only_for_other_rungs() -> None:
    files: dict[int, bytes] = {}

    def given(seq: int) -> Packet:
        files[seq] = jpeg(value=seq % 250)
        return Packet("jpeg", files[seq], 1000.0 + seq, 640, 480)

    async with camera_of(given) as camera:
        for rung in (None, "jpeg-720", "jpeg-240", "h264-240", "png"):
            camera.set_viewers("camera", "main", 1, *([rung] if rung else []))
        await eventually(lambda: all(len(of(camera, rung)) > 2 for rung in ("jpeg", "jpeg-240", "h264-240", "png")))

    for rung in ("jpeg", "jpeg-720"):
        header, body = of(camera, rung)[0]
        assert body == files[header["seq"]]
        assert (header["encoded"], header["width"], header["height"]) == ("source", 640, 480)
        assert "quality" not in header
    header, body = of(camera, "jpeg-240")[-1]
    assert "encoded" not in header
    image = np.asarray(Image.open(BytesIO(body)))
    assert image.shape == (240, 320, 3)
    assert abs(int(image.mean()) - header["seq"] % 250) <= 1
    assert Image.open(BytesIO(of(camera, "png")[0][1])).size == (640, 480)


async def test_h264_of_the_source_is_passed_on_from_a_key_and_decoded_only_for_other_rungs() -> None:
    card = EncodedCard()
    async with camera_of(card) as camera:
        camera.set_viewers("camera", "main", 1, "jpeg")
        await eventually(lambda: len(of(camera, "jpeg")) > 3)
        camera.set_viewers("camera", "main", 1, "h264")
        camera.set_viewers("camera", "main", 1, "h264-240")
        await eventually(lambda: len(of(camera, "h264")) > 12 and len(of(camera, "h264-240")) > 3)

    packets = of(camera, "h264")
    assert packets[0][0]["key"]
    assert [body for _, body in packets] == [card.sent[header["seq"]].data for header, _ in packets]
    assert [header["packet"] for header, _ in packets] == list(range(len(packets)))
    assert [header["key"] for header, _ in packets] == [header["seq"] % 10 == 0 for header, _ in packets]
    assert packets[5][0]["codec"].startswith("avc1.64") and packets[5][0]["encoded"] == "source"
    assert strips([body for _, body in packets]) == [header["seq"] for header, _ in packets]
    smaller = of(camera, "h264-240")
    assert (smaller[0][0]["height"], smaller[0][0]["key"]) == (240, True)


async def test_lost_packets_of_a_source_make_its_rung_wait_for_the_next_key() -> None:
    async with camera_of(EncodedCard(64 * 5, 240)) as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 3)
        camera.packets_arrive = False
        lost = len(camera.frames)
        await eventually(lambda: len(camera.frames) >= lost + 3)

        # One was lost, and then each key that was tried; nothing between them.
        assert [header["key"] for header, _ in of(camera, "h264")][lost + 2 :].count(False) <= 20
        assert (await camera.ask("describe"))["statistics"]["drops"]["broker"] >= 1


async def test_a_picture_that_stands_still_is_sent_again_once_a_second_as_a_repeat_and_not_encoded(
    script: Script,
) -> None:
    pixels = np.full((24, 32), 7, dtype=np.uint8)
    script.pixels = pixels.copy
    async with script.camera(fps=60) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 3 and script.grabbed > 60)

        headers = [header for header, _ in of(camera, "jpeg")]
        assert {header["seq"] for header in headers} == {0}
        assert [header["fresh"] for header in headers] == [True, *[False] * (len(headers) - 1)]
        assert {body for _, body in of(camera, "jpeg")} == {camera.frames[0][2]}
        described = await camera.ask("describe")
        assert (described["statistics"]["frames"], described["status"]) == (1, "streaming")


async def test_who_joins_while_a_picture_stands_still_gets_it_in_every_rung_and_keys_are_made_of_it() -> None:
    picture = Picture(np.full((240, 320, 3), 9, dtype=np.uint8), 1000.0)
    async with camera_of(lambda seq: picture) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(of(camera, "jpeg")) >= 1)
        for rung in ("h264", "png"):
            camera.set_viewers("camera", "main", 1, rung)
        await eventually(lambda: of(camera, "h264") and of(camera, "png"))
        assert (await camera.ask("key_frame", rung="h264"))["key"]
        await eventually(lambda: len(of(camera, "h264")) == 2)
        await eventually(lambda: len(of(camera, "jpeg")) >= 3)

    told = [(header["seq"], header["key"], header["fresh"], header["packet"]) for header, _ in of(camera, "h264")]
    assert told == [(0, True, True, 0), (0, True, False, 1)]


async def test_another_quality_is_taken_up_while_a_picture_stands_still(script: Script) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    script.pixels = lambda: pixels
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 1)
        await camera.ask("set_quality", quality=5)
        await eventually(lambda: camera.frames[-1][1]["quality"] == 5)

    first, last = of(camera, "jpeg")[0], of(camera, "jpeg")[-1]
    assert len(last[1]) < len(first[1]) / 2
    assert (last[0]["seq"], last[0]["fresh"]) == (0, False)


async def test_a_change_of_the_source_s_size_is_taken_up_with_a_key(script: Script) -> None:
    def pixels() -> np.ndarray:
        side = 64 if script.grabbed < 6 else 96
        return np.full((48, side), script.grabbed % 256, dtype=np.uint8)

    script.pixels = pixels
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1, "h264")
        await eventually(lambda: len(camera.frames) >= 10)
        await eventually(lambda: states(camera)[-1]["width"] == 96)

    first = next(header for header, _ in of(camera, "h264") if header["width"] == 96)
    assert first["key"]


async def test_a_picture_that_is_too_large_fails_loudly(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_PICTURE", 1 << 20)
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)

    def pixels() -> np.ndarray:
        noise[0, 0] += 1
        return noise.copy()

    script.pixels = pixels
    async with script.camera(quality=95) as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: status(camera) == "failed")

        assert "larger than the 1 MiB that can be sent" in states(camera)[-1]["reason"]
        told: dict[str, Any] = (await camera.ask("describe"))["statistics"]
        assert told["drops"]["broker"] >= 5
        assert (told["frames"], camera.frames) == (0, [])


def test_a_picture_of_64_mib_is_sent_and_one_of_a_byte_more_is_a_bad_picture() -> None:
    report = CameraReport({"source": "test"}, None, 30.0, 85)
    sender = PictureSender(report)

    assert sender.fits(Encoded(bytes(64 << 20), 8000, 8000))
    assert report.bad == 0
    assert not sender.fits(Encoded(bytes((64 << 20) + 1), 8000, 8000))
    assert (report.bad, report.bad_reason) == (1, "a picture of 65 MiB is larger than the 64 MiB that can be sent")
