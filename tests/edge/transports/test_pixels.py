"""Pixels of pictures: right, bounded, and made once for all that watch them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.transports import pixels
from edge.transports.pixels import MAX_PIXELS, Pixels, UnreadablePicture, decode, make_message, shown_size
from edge.transports.video.frame import Frame
from router.frame import pack, unpack


@pytest.fixture
def making() -> Iterator[Pixels]:
    made = Pixels()
    yield made
    made.close()


def encoded(values: Any, format: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8)).save(out, format, **how)
    return out.getvalue()


RANDOM = np.random.default_rng(7).integers(0, 256, (300, 400, 4), np.uint8)


def test_pixels_that_come_as_they_are_go_as_they_are_and_scaled_ones_are_means() -> None:
    header = {"format": "rgba", "width": 400, "height": 300, "track": "beauty"}

    message = make_message(pack(header, RANDOM.tobytes()), "binary", None)
    small = make_message(pack(header, RANDOM.tobytes()), "binary", 200)

    assert isinstance(message, bytes) and isinstance(small, bytes)
    assert bytes(unpack(message)[1]) == RANDOM.tobytes()
    said, body = unpack(small)
    assert (said["width"], said["height"], len(body)) == (200, 150, 200 * 150 * 4)


@pytest.mark.parametrize(
    "header", [{"width": 400, "height": 299}, {"width": -400, "height": -300}, {"width": "400"}, {}]
)
def test_pixels_that_are_not_of_the_size_they_claim_are_refused(header: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePicture, match=r"are no picture of|is no size"):
        make_message(pack({"format": "rgba", **header}, RANDOM.tobytes()), "binary", None)


@pytest.mark.parametrize("form", ["base64", "buffer", "binary"])
def test_every_byte_of_a_picture_comes_in_each_form(form: str) -> None:
    # Longer than one stretch, and no multiple of it.
    message = make_message(pack({"track": "beauty"}, encoded(RANDOM)), form, None)

    if isinstance(message, bytes):
        got = bytes(unpack(message)[1])
    else:
        (image,) = json.loads(message)["data"]["render_images"]["data"]
        data = image["buffer"]["data"]
        got = bytes(data["data"]) if form == "buffer" else base64.b64decode(data)
    assert got == RANDOM.tobytes()


def test_a_picture_without_alpha_is_opaque_and_a_grey_one_has_three_channels() -> None:
    grey = encoded(RANDOM[:, :, 0])

    width, height, got = decode({}, memoryview(grey))

    values = np.frombuffer(got, np.uint8).reshape(height, width, 4)
    assert (values[:, :, 3] == 255).all() and (values[:, :, :3] == RANDOM[:, :, :1]).all()


@pytest.mark.parametrize(
    ("size", "wanted", "shown"),
    [
        ((1920, 1080), None, (1920, 1080)),
        ((1920, 1080), 960, (960, 540)),
        ((1920, 1080), 4000, (1920, 1080)),
        ((8192, 8192), None, (2880, 2880)),
        ((10000, 1), 16, (16, 1)),
        ((3000, 2000), 1000, (1000, 666)),
    ],
)
def test_a_picture_is_scaled_down_and_never_up(
    size: tuple[int, int], wanted: int | None, shown: tuple[int, int]
) -> None:
    assert shown_size(*size, wanted) == shown
    assert shown[0] * shown[1] <= MAX_PIXELS


def test_the_longest_form_is_of_fewer_pixels() -> None:
    payload = pack({"format": "rgba", "width": 1920, "height": 1080}, bytes(1920 * 1080 * 4))

    (image,) = json.loads(make_message(payload, "buffer", None))["data"]["render_images"]["data"]

    assert image["size"] == {"x": 1365, "y": 768} and len(image["buffer"]["data"]["data"]) == 1365 * 768 * 4


def test_a_scaled_jpeg_shows_what_the_whole_one_shows() -> None:
    ramp = np.zeros((256, 256, 3), np.uint8)
    ramp[:, :, 0] = np.arange(256)
    body = memoryview(encoded(ramp, "JPEG", quality=95))

    width, height, got = decode({}, body, 64)

    values = np.frombuffer(got, np.uint8).reshape(height, width, 4).astype(int)
    assert (width, height) == (64, 64)
    assert abs(values[:, :, 0] - (np.arange(64) * 4 + 1.5)).max() < 8


@pytest.mark.parametrize("body", [b"", b"no picture", encoded(RANDOM)[:200], encoded(RANDOM, "TIFF")])
def test_what_is_no_picture_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        make_message(pack({}, body), "binary", None)
    with pytest.raises(UnreadablePicture):
        make_message(b"\xff\xff\xff\xff", "binary", None)


def test_a_picture_that_claims_a_huge_size_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_SOURCE_PIXELS", 400 * 300 - 1)

    with pytest.raises(UnreadablePicture, match="too large"):
        decode({}, memoryview(encoded(RANDOM)))


async def test_a_form_is_made_once_for_all_viewers_and_again_for_the_next_picture(
    making: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int | None]] = []

    def counting(payload: bytes, form: str, width: int | None) -> str | bytes:
        calls.append((form, width))
        return make_message(payload, form, width)

    monkeypatch.setattr(pixels, "make_message", counting)
    payload = pack({"track": "beauty"}, encoded(RANDOM))
    # Each viewer that joins late is handed a frame of its own.
    first, again = making.of("s", Frame(payload)), making.of("s", Frame(bytes(bytearray(payload))))

    messages = await asyncio.gather(*(each.message("base64") for each in (first, again, first)))
    await first.message("base64", 100)
    other = making.of("s", Frame(pack({"track": "beauty", "seq": 2}, encoded(RANDOM))))

    assert first is again is not other
    assert messages[0] is messages[1] is messages[2]
    assert calls == [("base64", None), ("base64", 100)]


async def test_a_viewer_that_leaves_does_not_take_the_picture_from_the_others(making: Pixels) -> None:
    picture = making.of("s", Frame(pack({}, encoded(RANDOM))))

    leaving = asyncio.ensure_future(picture.message("binary"))
    staying = asyncio.ensure_future(picture.message("binary"))
    await asyncio.sleep(0)
    leaving.cancel()

    assert len(await staying) > RANDOM.nbytes
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_pictures_that_nobody_shows_are_not_kept(making: Pixels) -> None:
    making.of("s", Frame(pack({}, encoded(RANDOM))))

    assert not making._newest
