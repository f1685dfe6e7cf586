"""Accumulates the simulator's samples: noise that falls as one over the root of their number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from actors.octane.simulator.scene import Floats, Plate

# Light up to 4 has a place of its own in the table; the curve is flat above.
_STEPS, _WHITE = 16384, 4.0


def _curve() -> NDArray[np.uint8]:
    """From linear light to bytes: a soft shoulder, then the sRGB transfer function."""
    light = 1 - np.exp(-1.35 * np.linspace(0.0, _WHITE, _STEPS))
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)


class Film:
    """One render in the making. Not for two threads at once."""

    def __init__(self, plate: Plate, pitch: int, seed: int = 0) -> None:
        height, width, _ = plate.light.shape
        self._plate = plate
        self._random = np.random.default_rng(seed)
        self._grain = self._make_grain((height, width, 3))
        self._curve = _curve()
        self.width, self.height, self.pitch = width, height, max(pitch, width)
        self.samples = 0
        self._sum = np.zeros((height, width, 3), np.float32)
        self._light = np.empty((height, width, 3), np.float32)

    def expose(self, samples: int) -> None:
        """Adds samples until each pixel has that many; fewer than before means that the film was wiped."""
        if samples < self.samples:
            self._sum[:] = 0
            self.samples = 0
        added = samples - self.samples
        if added > 0:
            # k samples at once vary as one sample does, times the root of k. Sliding one field of grain along itself
            # costs a tenth of drawing a new one.
            grain, total = self._grain.reshape(-1), self._sum.reshape(-1)
            cut = int(self._random.integers(1, self.width * self.height)) * 3
            amount = np.float32(math.sqrt(added) * self._random.choice((-1.0, 1.0)))
            total[:cut] += amount * grain[-cut:]
            total[cut:] += amount * grain[:-cut]
            self.samples = samples

    def light(self) -> Floats:
        """The picture so far, in linear light. The next call writes over it."""
        np.multiply(self._sum, self._plate.noise / np.float32(max(self.samples, 1)), out=self._light)
        self._light += self._plate.light
        return self._light

    def develop(self) -> bytes:
        """The picture so far as LDR_RGBA, each row padded to the pitch."""
        light = self.light()
        light *= np.float32((_STEPS - 1) / _WHITE)
        np.clip(light, 0, _STEPS - 1, out=light)
        # The padding is loud on purpose: a client that takes the pitch for the width shows it at once.
        rows = np.empty((self.height, self.pitch, 4), np.uint8)
        rows[:, self.width :] = (255, 0, 255, 255)
        rows[:, : self.width, :3] = self._curve[light.astype(np.uint16)]
        rows[:, : self.width, 3] = 255
        return rows.tobytes()

    def develop_linear(self) -> bytes:
        """The picture so far as HDR_RGBA in linear light, each row padded to the pitch."""
        rows = np.zeros((self.height, self.pitch, 4), np.float32)
        rows[:, : self.width, :3] = self.light()
        rows[:, : self.width, 3] = 1
        return rows.tobytes()

    def _make_grain(self, shape: tuple[int, int, int]) -> Floats:
        """The noise of one sample, unit variance: mostly grey, a little coloured, with a few fireflies."""
        height, width, _ = shape
        grain = self._random.standard_normal(shape, np.float32) * np.float32(0.45)
        grain += self._random.standard_normal((height, width, 1), np.float32) * np.float32(0.8)
        flies = self._random.integers(0, height * width, height * width // 1500)
        grain.reshape(-1, 3)[flies] += np.float32(9)
        grain -= grain.mean()
        return np.ascontiguousarray(grain / grain.std(), np.float32)
