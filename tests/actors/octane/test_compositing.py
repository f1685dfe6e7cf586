"""Every picture looks as a slow reference in double precision says, in colour, over every background."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.octane.colour import ACES2065_1, ACESCG, XYZ_E, is_linear, to_srgb
from actors.octane.compositing import CHECKER, CHECKER_SIZE, deep, display, light
from actors.octane.pixels import LAYOUTS, decode
from protos import octane_types_pb2 as wire
from router.rendition import BACKGROUNDS
from tests.actors.octane.images import image_of, values_of

_SPACES = {
    wire.NAMED_COLOR_SPACE_ACES2065_1: to_srgb(ACES2065_1),
    wire.NAMED_COLOR_SPACE_ACESCG: to_srgb(ACESCG),
    wire.NAMED_COLOR_SPACE_XYZ_E: to_srgb(XYZ_E),
}
NONE, LINEARIZED, ENCODED = 0, 1, 2


def encode(value: float) -> float:
    return value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def linearise(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def behind(background: str, x: int, y: int) -> float:
    if background == "checker":
        return CHECKER[(x // CHECKER_SIZE + y // CHECKER_SIZE) % 2]
    return 1.0 if background == "white" else 0.0


class Reference:
    """Works one pixel out the slow way, in Python's own floats."""

    def __init__(self, image: wire.ApiRenderImage, values: np.ndarray) -> None:
        self.linear = is_linear(image.colorSpace, image.isLinear)
        self.matrix = _SPACES.get(image.colorSpace)
        self.channels = values.shape[2]
        self.byte = values.dtype == np.uint8
        self.has_alpha = image.hasAlpha and self.channels in (2, 4)
        kind = image.premultipliedAlphaType
        self.kind = LINEARIZED if self.linear and kind == ENCODED else kind

    def parts(self, pixel: np.ndarray) -> tuple[list[float], float]:
        """The colours as they are stored, as floats, and the alpha."""
        found = [float(value) / 255 if self.byte else float(value) for value in pixel]
        colours = found[:3] if self.channels == 4 else found[:1] * 3
        return colours, clip(found[-1]) if self.has_alpha else 1.0

    def light_of(self, colours: list[float]) -> list[float]:
        """Colours as stored, in linear light of sRGB."""
        if not self.linear:
            return [linearise(value) for value in colours]
        if self.matrix is None or self.channels != 4:
            return colours
        return [sum(float(self.matrix[row][n]) * colours[n] for n in range(3)) for row in range(3)]

    def composed(self, pixel: np.ndarray, background: str, x: int, y: int) -> list[float]:
        """Encoded values over a background."""
        colours, alpha = self.parts(pixel)
        grey = behind(background, x, y)
        if self.has_alpha and self.kind == ENCODED:
            return [clip(value + (1 - alpha) * grey) for value in colours]
        found = self.light_of(colours)
        if self.has_alpha and self.kind == NONE:
            found = [value * alpha for value in found]
        return [encode(clip(value + (1 - alpha) * linearise(grey))) for value in found]

    def straight(self, pixel: np.ndarray) -> list[float]:
        """Encoded values that were not multiplied with alpha, and the alpha."""
        colours, alpha = self.parts(pixel)
        if self.kind == ENCODED:
            return [clip(value / alpha) if alpha else 0.0 for value in colours] + [alpha]
        found = self.light_of(colours)
        if self.kind == LINEARIZED:
            found = [value / alpha if alpha else 0.0 for value in found]
        return [encode(clip(value)) for value in found] + [alpha]


pictures = {
    "kind": st.sampled_from(sorted(LAYOUTS)),
    "space": st.sampled_from([0, 1, 2, 3, 4, 5, 1000]),
    "linear": st.booleans(),
    "alpha": st.sampled_from([NONE, LINEARIZED, ENCODED, None]),
    "seed": st.integers(0, 10_000),
    "padding": st.integers(0, 3),
}


def drawn(
    kind: int, space: int, linear: bool, alpha: int | None, seed: int, padding: int
) -> tuple[wire.ApiRenderImage, np.ndarray]:
    values = values_of(kind, 6, 4, seed)
    values[0, 0, -1] = 0  # somewhere there is nothing to be seen
    fields = {"colorSpace": space, "isLinear": linear, "hasAlpha": alpha is not None}
    return image_of(values, kind, padding=padding, premultipliedAlphaType=alpha or 0, **fields), values


def slack(reference: Reference) -> float:
    """How far a byte may lie from the exact value: half a step; a whole one where Octane's viewers cut off."""
    cut_off = not reference.byte and not reference.linear
    return (1.0 if cut_off else 0.5) + 2e-3


@settings(max_examples=300)
@given(**pictures, background=st.sampled_from(BACKGROUNDS))
def test_a_picture_over_a_background_is_what_the_reference_says(background, **drawing):
    image, values = drawn(**drawing)

    shown = display(decode(image), background)[:, :6, :3].astype(float)

    reference = Reference(image, values)
    exact = np.array([[reference.composed(values[y, x], background, x, y) for x in range(6)] for y in range(4)]) * 255
    assert np.abs(shown - exact).max() <= slack(reference)


@settings(max_examples=300)
@given(**pictures)
def test_a_picture_that_keeps_its_alpha_is_what_the_reference_says(**drawing):
    image, values = drawn(**drawing)
    if drawing["alpha"] is None or values.shape[2] not in (2, 4):
        return

    shown = display(decode(image), None)[:, :6].astype(float)

    reference = Reference(image, values)
    exact = np.array([[reference.straight(values[y, x]) for x in range(6)] for y in range(4)]) * 255
    assert np.abs(shown - exact)[:, :, 3].max() <= 0.5 + 2e-3
    # Dividing by a small alpha makes the rounding of single precision as large.
    unsure = 1e-5 * 255 / np.maximum(exact[:, :, 3:] / 255, 1e-3)
    assert (np.abs(shown - exact)[:, :, :3] <= slack(reference) + unsure).all()


@settings(max_examples=200)
@given(**pictures, background=st.sampled_from(BACKGROUNDS))
def test_sixteen_bits_are_what_the_reference_says(background, **drawing):
    image, values = drawn(**drawing)

    shown = deep(light(decode(image), background)).astype(float)

    reference = Reference(image, values)
    exact = np.array([[reference.composed(values[y, x], background, x, y) for x in range(6)] for y in range(4)]) * 65535
    # Single precision near black, where the curve is steep: a handful of 65535.
    assert np.abs(shown - exact).max() <= 3


@given(kind=st.sampled_from([0, 2, 6]), space=st.sampled_from([1, 2, 3, 4, 5]), seed=st.integers(0, 1000))
def test_linear_light_is_not_clipped(kind, space, seed):
    image, values = drawn(kind, space, False, None, seed, 0)

    found = light(decode(image), None)

    reference = Reference(image, values)
    exact = np.array([[reference.light_of(reference.parts(values[y, x])[0]) for x in range(6)] for y in range(4)])
    assert found.shape == (4, 6, 3)
    assert np.abs(found - exact).max() < 1e-5


def test_linear_light_with_alpha_is_multiplied_with_it():
    values = np.array([[[0.5, 0.25, 1.0, 0.5]]], np.float32)

    for kind, colours in ((NONE, [0.25, 0.125, 0.5]), (LINEARIZED, [0.5, 0.25, 1.0])):
        image = image_of(values, 2, isLinear=True, hasAlpha=True, premultipliedAlphaType=kind)
        assert light(decode(image), None)[0, 0].tolist() == pytest.approx([*colours, 0.5])


@pytest.mark.parametrize(("premultiplied", "background"), [(None, "black"), (None, None), (1, "black"), (2, "black")])
def test_bytes_in_srgb_are_shown_as_they_arrived_without_a_copy(premultiplied, background):
    values = values_of(wire.IMAGE_TYPE_LDR_RGBA, 5, 3, 1)
    fields = {"hasAlpha": premultiplied is not None, "premultipliedAlphaType": premultiplied or 0}
    picture = decode(image_of(values, wire.IMAGE_TYPE_LDR_RGBA, padding=2, **fields))

    assert display(picture, background) is picture.stored


def test_values_that_are_no_numbers_are_clamped():
    values = np.array([[[np.nan], [np.inf], [-np.inf], [-3.0], [7.0]]], np.float32)

    for linear in (False, True):
        picture = decode(image_of(values, wire.IMAGE_TYPE_HDR_MONO, isLinear=linear))
        assert display(picture, "black")[0, :, 0].tolist() == [0, 255, 0, 0, 255]


def test_a_picture_of_several_bands_is_the_same_as_one():
    values = values_of(wire.IMAGE_TYPE_HDR_RGBA, 1000, 300, 1)
    fields = {"hasAlpha": True, "premultipliedAlphaType": 1, "isLinear": True}
    whole = display(decode(image_of(values, wire.IMAGE_TYPE_HDR_RGBA, **fields)), "checker")

    for top in (0, 128, 256):
        rows = decode(image_of(values[top : top + 16], wire.IMAGE_TYPE_HDR_RGBA, **fields))
        assert np.array_equal(whole[top : top + 16], display(rows, "checker"))
