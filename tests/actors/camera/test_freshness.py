from __future__ import annotations

import av
import numpy as np
import pytest

from actors.camera.freshness import is_repeat
from actors.camera.renditions.h264 import H264Encoder
from actors.camera.renditions.planes import planes_of
from actors.camera.sources.source import FramePicture, Grabbed, Packet, Picture
from tests.actors.camera.packets import camera_of
from tests.waiting import eventually


def picture(value: int = 0, spot: int = 0, fresh: bool = True, shape: tuple[int, ...] = (33, 7, 3)) -> Picture:
    pixels = np.full(shape, value, dtype=np.uint8)
    pixels.reshape(-1)[-5] = spot
    return Picture(pixels, 0.0, fresh=fresh)


def packet(codec: str, data: bytes) -> Packet:
    return Packet(codec, data, 0.0, 4, 4)


FRAME = av.VideoFrame(16, 16, "yuv420p")


@pytest.mark.parametrize(
    ("now", "before", "repeat"),
    [
        (picture(1), picture(1), True),
        (picture(1), picture(2), False),
        (picture(1, spot=9), picture(1), False),
        (picture(1, shape=(32, 8, 3)), picture(1, shape=(32, 8, 3)), True),
        (picture(1, spot=9, shape=(32, 8, 3)), picture(1, shape=(32, 8, 3)), False),
        (picture(1), picture(1, shape=(33, 7)), False),
        (picture(1, fresh=False), picture(2), True),
        (Picture(picture().pixels[:, ::2], 0.0), Picture(picture().pixels[:, ::2], 0.0), True),
        (packet("jpeg", b"a"), packet("jpeg", b"a"), True),
        (packet("jpeg", b"a"), packet("jpeg", b"b"), False),
        (packet("h264", b"a"), packet("h264", b"a"), False),
        (packet("jpeg", b"a"), picture(), False),
        (picture(), packet("jpeg", b"a"), False),
        (FramePicture(FRAME, 0.0), FramePicture(FRAME, 1.0), True),
        (FramePicture(FRAME, 0.0), FramePicture(av.VideoFrame(16, 18, "yuv420p"), 1.0), False),
        (FramePicture(FRAME, 0.0), FramePicture(av.VideoFrame(16, 16, "nv12"), 1.0), False),
        (FramePicture(FRAME, 0.0), picture(), False),
    ],
)
def test_a_repeat_is_what_shows_the_same_bit_by_bit(now: Grabbed, before: Grabbed, repeat: bool) -> None:
    assert is_repeat(now, before) is repeat


FORMATS = (
    "yuv420p",
    "yuv422p",
    "nv12",
    "yuyv422",
    "bgr0",
    "rgb24",
    "rgb565le",
    "gray",
    "gray16le",
    "yuv420p10le",
    "p010le",
)


def frame_of(form: str, padding: int) -> tuple[av.VideoFrame, list[np.ndarray]]:
    """A frame of rows that are padded, and the planes of its pixels, each a row longer in memory than it shows."""
    frame = av.VideoFrame(18, 6, form)
    planes = []
    for plane in frame.planes:
        whole = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        whole[:] = padding
        planes.append(whole)
    return frame, planes


@pytest.mark.parametrize("form", FORMATS)
def test_a_frame_of_the_same_pixels_is_a_repeat_whatever_pads_its_rows(form: str) -> None:
    frames = []
    for padding in (1, 2):
        whole, planes = frame_of(form, padding)
        rng = np.random.default_rng(1)
        for plane in planes:
            width = _row(form, len(planes), plane is planes[0])
            plane[:, :width] = rng.integers(0, 256, (plane.shape[0], width), dtype=np.uint8)
        frames.append((whole, planes))
    (one, _), (other, planes) = frames

    assert is_repeat(FramePicture(one, 0.0), FramePicture(other, 1.0))
    for plane in planes:
        width = _row(form, len(planes), plane is planes[0])
        plane[-1, width - 1] ^= 0xFF
        assert not is_repeat(FramePicture(one, 0.0), FramePicture(other, 1.0))
        plane[-1, width - 1] ^= 0xFF


def _row(form: str, planes: int, first: bool) -> int:
    """Bytes of a row of 18 pixels."""
    if planes == 1:
        return {"yuyv422": 36, "bgr0": 72, "rgb24": 54, "rgb565le": 36, "gray": 18, "gray16le": 36}[form]
    wide = 2 if form in ("yuv420p10le", "p010le") else 1
    return wide * (18 if first or form in ("nv12", "p010le") else 9)


@pytest.mark.parametrize("form", ["rgb24", "yuyv422", "yuv420p"])
async def test_a_sensor_that_sends_the_same_bytes_is_repeated_once_a_second_and_not_encoded(form: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (240, 320, 3), dtype=np.uint8)

    def frozen(seq: int) -> Grabbed:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=form)
        return Picture(pixels.copy(), 33.0 * seq) if form == "rgb24" else FramePicture(frame, 33.0 * seq)

    async with camera_of(frozen) as camera:
        camera.set_viewers("camera", "main", 1)
        begun = camera.clock.now()
        await eventually(lambda: len(camera.frames) >= 4)
        took = camera.clock.now() - begun

    headers = [header for _, header, _ in camera.frames]
    assert [header["seq"] for header in headers] == [0] * len(headers)
    assert [header["fresh"] for header in headers] == [True, *[False] * (len(headers) - 1)]
    assert took >= 2.9


async def test_a_still_scene_of_an_h264_source_is_not_encoded_again_for_the_rungs_that_are_decoded() -> None:
    encoder, planes = H264Encoder(), planes_of(np.full((480, 640), 77, dtype=np.uint8), 640, 480)

    def still(seq: int) -> Packet:
        unit = encoder.encode(planes, 33.0 * seq, 85, 30.0, False)
        return Packet("h264", unit.data, 33.0 * seq, 640, 480, unit.key)

    async with camera_of(still) as camera:
        camera.set_viewers("camera", "main", 1, "jpeg-240")
        await eventually(lambda: sum(not header["fresh"] for _, header, _ in camera.frames) >= 2)

    fresh = [header for _, header, _ in camera.frames if header["fresh"]]
    assert len(fresh) <= 3
