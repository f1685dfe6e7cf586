"""Draws the pictures of a simulated camera: a moving test card that says it is simulated.

Every picture bears its number and the time, once for people and once as a strip of black and white squares that
survives JPEG, so that a test, or a page, can read from the pixels which picture it sees and how old it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from actors.camera.sources.address import MAX_HEIGHT, MAX_WIDTH, MIN_HEIGHT, MIN_WIDTH, SIMULATED
from actors.camera.sources.control import REGION, Control, ControlValue
from actors.camera.sources.source import Picture, Pixels

Image8 = NDArray[np.uint8]
_Colour = tuple[int, int, int]

INK: _Colour = (238, 241, 247)
PANEL: _Colour = (12, 14, 22)
AMBER: _Colour = (255, 184, 56)

# EBU bars at 75 %: what any video engineer checks colours against.
BARS: tuple[_Colour, ...] = (
    (191, 191, 191),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
    (16, 16, 16),
)

# The strip: 4 squares to find it by, 32 for the number, 32 for the time in ms, 4 for a checksum, in two rows.
CELL = 8
_COLUMNS = 36
_MARK = (1, 0, 1, 0)

# The exposure in seconds at which the card is as it is drawn, without gain.
EXPOSURE = 0.02
LEAST_REGION = 32

# The light behind the hand: brightest where it just was (255), fading over a third of a turn.
_LIGHT: NDArray[np.uint8] = (np.clip((np.arange(256) - 170) / 85, 0.0, 1.0) ** 2 * 110).astype(np.uint8)

# Seconds that the background takes to pass by, that the hand takes to turn, that the ball takes for each direction.
_PASSING, _TURN, _SWAY, _BOB = 12.0, 4.0, 5.3, 3.1


class SimulatedSource:
    """Draws a test card: a drifting sky, bars, a turning hand, a gliding ball, the number and the time."""

    kind = SIMULATED
    simulated = True

    def __init__(self, width: int = 640, height: int = 480, wall: Callable[[], float] = time.time) -> None:
        self._width, self._height = width, height
        self._wall = wall
        self._exposure, self._gain, self._gamma = EXPOSURE, 0.0, 1.0
        self._region: dict[str, int] | None = None
        self._levels: NDArray[np.uint8] | None = None  # the levels of a picture as shown; None where they stay

    def controls(self) -> list[Control]:
        """What a sensor would have: what it is set to changes the card."""
        width, height = self._width, self._height
        whole = {"left": 0, "top": 0, "width": width, "height": height}
        return [
            Control("exposure", "number", self._exposure, 0.0001, 1.0, unit="s"),
            Control("gain", "number", self._gain, 0.0, 24.0, 0.1, "dB"),
            Control("gamma", "number", self._gamma, 0.25, 4.0, 0.01),
            Control("auto_exposure", "button"),
            Control(
                "region",
                "region",
                self._region or whole,
                {"left": 0, "top": 0, "width": LEAST_REGION, "height": LEAST_REGION},
                {"left": width - LEAST_REGION, "top": height - LEAST_REGION, "width": width, "height": height},
                unit="px",
            ),
            Control(
                "size",
                "size",
                {"width": width, "height": height},
                {"width": MIN_WIDTH, "height": MIN_HEIGHT},
                {"width": MAX_WIDTH, "height": MAX_HEIGHT},
                unit="px",
            ),
        ]

    def set_control(self, name: str, value: ControlValue) -> ControlValue:
        """Sets one; an exposure in steps of 0.1 ms, a region in steps of two pixels, as sensors do. Raises ValueError."""
        match name, value:
            case "exposure", float() | int():
                self._exposure = max(0.0001, round(value, 4))
            case "gain", float() | int():
                self._gain = round(float(value), 1)
            case "gamma", float() | int():
                self._gamma = round(float(value), 2)
            case "auto_exposure", _:
                # The light on the card never changes, so the exposure that fits follows from the gain.
                self._exposure = max(0.0001, round(EXPOSURE / 10 ** (self._gain / 20), 4))
            case "region", Mapping():
                self._region = {each: member // 2 * 2 for each, member in value.items()}
            case "size", Mapping():
                self._width, self._height, self._region = value["width"], value["height"], None
                self.open()
            case _:
                raise ValueError(f"the source has no control {name}")
        self._levels = _levels(self._exposure / EXPOSURE * 10 ** (self._gain / 20), self._gamma)
        return next(control.value for control in self.controls() if control.name == name)

    def open(self) -> None:
        """Draws what does not change, so that a picture costs little later."""
        unit = self._unit = min(self._width / 640, self._height / 480)
        self._sky = _sky(self._width, self._height)
        self._grid = max(8, round(40 * unit))
        self._large = _glyphs(round(40 * unit), "0123456789:.", INK, PANEL)
        self._small = _glyphs(round(22 * unit), "#0123456789", AMBER, PANEL)
        self._radius = round(190 * unit)
        self._ring = _ring(self._radius, max(2, round(3 * unit)))
        self._angles, self._inside = _disc(self._radius)
        self._ball, self._ball_alpha = _ball(round(44 * unit))
        self._label = _label(
            f"SIMULATED   {self._width} x {self._height}", round(20 * unit), AMBER, PANEL, pad=round(12 * unit)
        )
        self._bars = _bars(round(304 * unit), round(84 * unit))
        self._ramp = _ramp(round(304 * unit), round(18 * unit))

    def grab(self, seq: int) -> Picture:
        """Draws picture number seq as of now."""
        wall = self._wall()
        card = self._background(wall)
        middle_x, middle_y = self._width // 2, self._height // 2
        self._clock_face(card, wall, middle_x, middle_y)
        _put(card, self._bars, middle_x, middle_y - round(86 * self._unit))
        _put(card, self._ramp, middle_x, middle_y - round(35 * self._unit))
        self._glide(card, wall)
        self._write(card, seq, wall, middle_x, middle_y)
        _put_corner(card, self._label)
        if self._region is not None:
            left, top, width, height = (self._region[name] for name in REGION)
            card = card[top : top + height, left : left + width].copy()
        if self._levels is not None:
            card = self._levels[card]
        if card.shape[0] >= 2 * CELL and card.shape[1] >= _COLUMNS * CELL:
            write_strip(card, seq, int(wall * 1000))
        return Picture(card, wall * 1000.0)

    def close(self) -> None:
        """Has nothing to close."""

    def _background(self, wall: float) -> Image8:
        shift = int(wall / _PASSING % 1.0 * self._width)
        card = self._sky[:, shift : shift + self._width].copy()
        card[:: self._grid] = card[:: self._grid] // 2 + 58
        card[:, :: self._grid] = card[:, :: self._grid] // 2 + 58
        return card

    def _clock_face(self, card: Image8, wall: float, x: int, y: int) -> None:
        # The hand turns by turning its light, 256 steps a turn, round a map of angles that stays as it is.
        light = np.roll(_LIGHT, int(wall / _TURN % 1.0 * 256)).take(self._angles)
        size, top, left = 2 * self._radius + 1, y - self._radius, x - self._radius
        disc = card[top : top + size, left : left + size]
        # Whole bytes under a mask, channel by channel: `where=` and broadcasting take eight times as long.
        disc -= (disc >> 1) & self._inside
        light &= self._inside[..., 0]
        for channel in range(3):
            disc[..., channel] += light
        rows, columns = self._ring
        card[rows + y, columns + x] = INK

    def _glide(self, card: Image8, wall: float) -> None:
        size = self._ball.shape[0]
        x = int((0.5 + 0.5 * math.sin(2 * math.pi * (wall / _SWAY % 1.0))) * (self._width - size))
        y = int((0.5 + 0.5 * math.sin(2 * math.pi * (wall / _BOB % 1.0))) * (self._height - size - 2 * CELL))
        below = card[y : y + size, x : x + size].astype(np.uint16)
        card[y : y + size, x : x + size] = (self._ball + below * (255 - self._ball_alpha)) >> 8

    def _write(self, card: Image8, seq: int, wall: float, x: int, y: int) -> None:
        shown = time.strftime("%H:%M:%S", time.localtime(wall)) + f".{int(wall * 1000) % 1000:03d}"
        text = np.concatenate([self._large[letter] for letter in shown], axis=1)
        number = np.concatenate([self._small[letter] for letter in f"#{seq:07d}"], axis=1)
        _put(card, text, x, y + round(22 * self._unit))
        _put(card, number, x, y + round(72 * self._unit))


def _levels(light: float, gamma: float) -> NDArray[np.uint8] | None:
    """What each of 256 levels becomes under more or less light and a gamma; None where it stays."""
    if light == 1.0 and gamma == 1.0:
        return None
    levels = np.clip(np.arange(256) / 255 * light, 0.0, 1.0) ** (1.0 / gamma)
    shown: NDArray[np.uint8] = np.rint(levels * 255).astype(np.uint8)
    return shown


def write_strip(card: Image8, seq: int, milliseconds: int) -> None:
    """Draws number and time (32 bits of each) as two rows of squares in the lower left corner."""
    rows = (*_MARK, *_bits(seq)), (*_bits(milliseconds), *_bits(_check(seq, milliseconds), 4))
    cells = np.array(rows, dtype=np.uint8) * 255
    strip = cells.repeat(CELL, axis=0).repeat(CELL, axis=1)
    card[-2 * CELL :, : _COLUMNS * CELL] = strip[:, :, np.newaxis]


def read_strip(pixels: Pixels) -> tuple[int, int] | None:
    """Reads (number, time in ms modulo 2³²) from a picture, also after JPEG; None where there is no whole strip."""
    if pixels.shape[0] < 2 * CELL or pixels.shape[1] < _COLUMNS * CELL:
        return None
    corner = pixels[-2 * CELL :, : _COLUMNS * CELL].astype(np.float64)
    grey = corner.mean(axis=2) if corner.ndim == 3 else corner
    bits = (grey.reshape(2, CELL, _COLUMNS, CELL).mean(axis=(1, 3)) > 127).astype(int)
    first, second = bits[0].tolist(), bits[1].tolist()
    seq, milliseconds, check = _number(first[4:]), _number(second[:32]), _number(second[32:])
    if tuple(first[:4]) != _MARK or check != _check(seq, milliseconds):
        return None
    return seq, milliseconds


def _bits(value: int, width: int = 32) -> tuple[int, ...]:
    return tuple(value >> place & 1 for place in range(width - 1, -1, -1))


def _number(bits: list[int]) -> int:
    return sum(bit << place for place, bit in enumerate(reversed(bits)))


def _check(seq: int, milliseconds: int) -> int:
    return (sum(_bits(seq)) + 3 * sum(_bits(milliseconds))) % 16


def _sky(width: int, height: int) -> Image8:
    """Two widths of a diagonal gradient that meets itself again, so that drifting is one slice a picture."""
    x = np.arange(2 * width)[np.newaxis, :] / width
    y = np.arange(height)[:, np.newaxis] / height
    wave = 2 * np.pi * (x + 0.35 * y)
    sky = np.empty((height, 2 * width, 3), dtype=np.uint8)
    sky[..., 0] = 58 + 44 * np.sin(wave) * (1 - 0.4 * y)
    sky[..., 1] = 64 + 34 * np.sin(wave + 2.3) + 26 * y
    sky[..., 2] = 128 + 46 * np.sin(wave + 4.0) - 22 * y
    return sky


def _ring(radius: int, thickness: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    side = np.arange(-radius, radius + 1)
    away = np.hypot(side[:, np.newaxis], side[np.newaxis, :])
    rows, columns = np.nonzero((away <= radius) & (away > radius - thickness))
    return rows - radius, columns - radius


def _disc(radius: int) -> tuple[NDArray[np.intp], Image8]:
    """For a disc: how far round each pixel is, in 256ths of a turn from twelve o'clock, and a mask of its inside."""
    side = np.arange(-radius, radius + 1)
    x, y = side[np.newaxis, :], side[:, np.newaxis]
    turn = np.arctan2(x, -y) / (2 * np.pi) % 1.0
    inside = np.where(np.hypot(x, y) <= radius, 255, 0).astype(np.uint8)
    return (turn * 256).astype(np.intp) & 255, np.ascontiguousarray(inside[..., np.newaxis].repeat(3, axis=2))


def _ball(size: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """A lit sphere with a soft edge: its colours times its opacity, and the opacity, each 0 to 255."""
    side = np.linspace(-1.0, 1.0, size)
    x, y = side[np.newaxis, :], side[:, np.newaxis]
    away = np.hypot(x, y)
    alpha = np.clip((1.0 - away) * size / 3, 0.0, 1.0)
    light = np.clip(1.15 - np.hypot(x + 0.35, y + 0.4) * 0.75, 0.12, 1.0)
    colour = light[..., np.newaxis] * np.array([255.0, 122.0, 84.0])
    return (colour * alpha[..., np.newaxis] * 255).astype(np.uint16), (alpha[..., np.newaxis] * 255).astype(np.uint16)


def _bars(width: int, height: int) -> Image8:
    colours = np.array(BARS, dtype=np.uint8)[np.arange(width) * len(BARS) // width]
    return np.ascontiguousarray(np.broadcast_to(colours, (height, width, 3)))


def _ramp(width: int, height: int) -> Image8:
    grey = np.linspace(0, 255, width).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey[np.newaxis, :, np.newaxis], (height, width, 3)))


def _glyphs(size: int, letters: str, ink: _Colour, paper: _Colour) -> dict[str, Image8]:
    """Each letter as a tile of one width, so that a running clock does not tremble."""
    font = ImageFont.load_default(size)
    width = max(math.ceil(font.getlength(letter)) for letter in letters) + 1
    height = round(size * 1.3)
    tiles = {}
    for letter in letters:
        tile = Image.new("RGB", (width, height), paper)
        ImageDraw.Draw(tile).text((width / 2, height / 2), letter, ink, font, anchor="mm")
        tiles[letter] = np.asarray(tile)
    return tiles


def _label(text: str, size: int, ink: _Colour, paper: _Colour, pad: int) -> Image8:
    font = ImageFont.load_default(size)
    label = Image.new("RGB", (math.ceil(font.getlength(text)) + 2 * pad, round(size * 1.3) + pad), paper)
    ImageDraw.Draw(label).text((label.width / 2, label.height / 2), text, ink, font, anchor="mm")
    return np.asarray(label)


def _put(card: Image8, tile: Image8, x: int, y: int) -> None:
    """Lays a tile down with its middle at (x, y)."""
    top, left = y - tile.shape[0] // 2, x - tile.shape[1] // 2
    card[top : top + tile.shape[0], left : left + tile.shape[1]] = tile


def _put_corner(card: Image8, tile: Image8) -> None:
    card[: tile.shape[0], : tile.shape[1]] = tile
