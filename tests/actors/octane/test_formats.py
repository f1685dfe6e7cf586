"""Each rendition is encoded once, and its file holds the pixels of the picture."""

from __future__ import annotations

import io
import threading
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from actors.octane import formats
from actors.octane.compositing import display, light
from actors.octane.errors import Unreadable
from actors.octane.formats import EncodedRendition, Ladder
from actors.octane.pixels import decode
from protos import octane_types_pb2 as wire
from router.rendition import DEFAULT, Rendition
from tests.actors.octane.images import image_of, values_of


def ladder(width: int = 20, height: int = 12, kind: int = wire.IMAGE_TYPE_LDR_RGBA, **fields: Any) -> Ladder:
    return Ladder(decode(image_of(values_of(kind, width, height, 3), kind, padding=4, **fields)), 85)


def opened(made: EncodedRendition) -> Image.Image:
    shown = Image.open(io.BytesIO(made.body))
    assert shown.size == (made.width, made.height)
    return shown


def by_ffmpeg(made: EncodedRendition) -> np.ndarray:
    """Decodes what Pillow cannot read in full."""
    with av.open(io.BytesIO(made.body)) as file:
        return next(file.decode(video=0)).to_ndarray()


@pytest.mark.parametrize("kind", [wire.IMAGE_TYPE_LDR_RGBA, wire.IMAGE_TYPE_HDR_RGBA, wire.IMAGE_TYPE_LDR_MONO_ALPHA])
@pytest.mark.parametrize("background", [None, "white"])
@pytest.mark.parametrize("alpha", [False, True])
def test_raw_pixels_are_those_of_the_lossless_file(kind: int, background: str | None, alpha: bool) -> None:
    made = ladder(kind=kind, hasAlpha=alpha)

    raw, file = made.make(Rendition("rgba", None, background)), made.make(Rendition("png", None, background))

    assert (raw.width, raw.height, len(raw.body)) == (20, 12, 20 * 12 * 4)
    assert raw.body == opened(file).convert("RGBA").tobytes()
    # A fourth channel that says nothing is opaque.
    assert (alpha and background is None) or set(raw.body[3::4]) == {255}


def test_raw_pixels_are_scaled_as_asked_and_where_they_would_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = ladder(300, 200)
    monkeypatch.setattr(formats, "MAX_RAW_PIXELS", 130 * 90)

    assert [wide.make(Rendition("rgba", width, None)).width for width in (None, 256, 128, 64)] == [128, 128, 128, 64]
    assert wide.make(Rendition("png", None, None)).width == 300
    assert len(wide.make(Rendition("rgba", None, None)).body) == 128 * 85 * 4


def test_the_jpeg_has_the_size_of_the_picture_and_no_alpha():
    values = np.full((6, 10, 4), (200, 60, 90, 7), np.uint8)

    made = Ladder(decode(image_of(values, 0, padding=3)), 85).make(DEFAULT)

    shown = opened(made)
    assert (shown.format, shown.size, shown.mode) == ("JPEG", (10, 6), "RGB")
    assert np.abs(np.asarray(shown)[3, 5].astype(int) - (200, 60, 90)).max() <= 3


@settings(deadline=None, max_examples=40)
@given(
    format=st.sampled_from(["png", "webp"]),
    kind=st.sampled_from([0, 2, 4, 5, 6]),
    background=st.sampled_from([None, "black", "white", "checker"]),
    alpha=st.booleans(),
)
def test_a_lossless_file_holds_the_exact_pixels(format, kind, background, alpha):
    made = ladder(kind=kind, hasAlpha=alpha, premultipliedAlphaType=1)

    shown = np.asarray(opened(made.make(Rendition(format, None, background))))

    channels = 4 if alpha and background is None else 3
    exact = display(made.picture, background)[:, :20, :channels]
    assert shown.shape == exact.shape and np.array_equal(shown, exact)


def test_sixteen_bits_are_stored_as_such():
    values = (np.arange(240, dtype=np.float32) / 240).reshape(6, 10, 4)
    made = Ladder(decode(image_of(values, 2, isLinear=True)), 85).make(Rendition("png16", None, None))

    shown = by_ffmpeg(made)

    light_of = values[:, :, :3].astype(float)
    exact = np.where(light_of <= 0.0031308, light_of * 12.92, 1.055 * light_of ** (1 / 2.4) - 0.055) * 65535
    assert shown.dtype == np.uint16 and shown.shape == (6, 10, 3)
    assert np.abs(shown - exact).max() <= 1


def test_bytes_become_sixteen_bits_without_a_change():
    made = ladder()

    assert np.array_equal(
        by_ffmpeg(made.make(Rendition("png16", None, None))), made.picture.pixels[:, :, :3] * np.uint16(257)
    )


@pytest.mark.parametrize("alpha", [False, True])
def test_an_exr_holds_linear_light_to_the_bit_also_beyond_white(alpha):
    made = ladder(kind=wire.IMAGE_TYPE_HDR_RGBA, hasAlpha=alpha, premultipliedAlphaType=1, isLinear=True)

    shown = by_ffmpeg(made.make(Rendition("exr", None, None)))

    assert np.array_equal(shown, light(made.picture, None)) and shown.shape[2] == (4 if alpha else 3)
    assert shown.max() > 1


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "png16", "exr"])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (128, 2), (129, 1), (64, 64)])
def test_a_width_is_met_exactly_and_never_exceeds_that_of_the_picture(format, width, height):
    background = None if format in ("png16", "exr") else "black"

    made = ladder(width, height).make(Rendition(format, 64, background))

    shown = opened(made) if format != "exr" else None
    assert made.width == 64 and made.height == max(1, round(height * 64 / width))
    assert shown is None or shown.size == (made.width, made.height)
    assert ladder(20, 12).make(Rendition(format, 64, background)).width == 20


@pytest.mark.parametrize("format", ["png", "png16"])
def test_a_preview_shows_what_the_picture_shows(format):
    across, down = np.meshgrid(np.linspace(0, 1, 640), np.linspace(0, 1, 320))
    values = np.stack([across, down, 1 - across, down], axis=2).astype(np.float32)

    made = Ladder(decode(image_of(values, wire.IMAGE_TYPE_HDR_RGBA)), 85).make(Rendition(format, 64, "black"))

    exact = values[:, :, :3].reshape(32, 10, 64, 10, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(opened(made)) / 255 - exact)[1:-1, 1:-1].max() < 0.01


def test_renditions_are_encoded_once_and_share_their_halvings(monkeypatch):
    reduced, converted = [], []
    reduce, whole = Image.Image.reduce, Ladder._whole
    monkeypatch.setattr(
        Image.Image, "reduce", lambda self, factor: (reduced.append(self.size), reduce(self, factor))[1]
    )
    monkeypatch.setattr(Ladder, "_whole", lambda self, behind: (converted.append(behind), whole(self, behind))[1])
    made = ladder(512, 512)

    first = [
        made.make(Rendition(format, width, "black")) for format in ("jpeg", "png") for width in (64, 128, 256, None)
    ]
    again = [
        made.make(Rendition(format, width, "black")) for format in ("jpeg", "png") for width in (64, 128, 256, None)
    ]

    assert all(one is other for one, other in zip(first, again, strict=True))
    assert reduced == [(512, 512), (256, 256), (128, 128)] and converted == ["black"]


def test_threads_that_want_the_same_rendition_get_the_same_bytes():
    made, found = ladder(200, 200), []
    threads = [threading.Thread(target=lambda: found.append(made.make(DEFAULT))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4 and all(each is found[0] for each in found)


@pytest.mark.parametrize(("format", "width"), [("jpeg", 65_501), ("webp", 16_384)])
def test_a_picture_that_a_file_format_cannot_hold_is_unreadable_with_the_reason(format, width):
    wide = Ladder(decode(image_of(np.zeros((1, width, 1), np.uint8), wire.IMAGE_TYPE_LDR_MONO)), 85)

    with pytest.raises(Unreadable, match=f"{width} x 1 pixels are more than a {format} can hold"):
        wide.make(Rendition(format, None, "black"))
    assert wide.make(Rendition("png", None, "black")).width == width
    assert wide.make(Rendition(format, 4096, "black")).width == 4096


def test_a_picture_too_large_for_floats_is_unreadable(monkeypatch):
    monkeypatch.setattr(formats, "MAX_DEEP_PIXELS", 239)

    with pytest.raises(Unreadable, match="too large for exr"):
        ladder(20, 12).make(Rendition("exr", None, None))
