"""Accumulates the simulator's samples: noise that falls as one over the root of their number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from actors.octane.simulator.scene import Floats, Plate

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Exposure:
    """How many samples each pixel has; those of the region have `extra` more."""

    samples: int
    region: Box | None = None
    extra: int = 0
    wipes: int = 0


class Film:
    """One render in the making. Not for two threads at once."""

    def __init__(self, plate: Plate, seed: int = 0) -> None:
        height, width, _ = plate.light.shape
        self._plate = plate
        self._random = np.random.default_rng(seed)
        self._grain = self._make_grain((height, width, 3))
        self.width, self.height = width, height
        self.exposure = Exposure(0)
        self._sum = np.zeros((height, width, 3), np.float32)
        self._counts = np.zeros((height, width, 1), np.float32)
        self._light = np.empty((height, width, 3), np.float32)

    def expose(self, to: Exposure) -> None:
        """Adds samples until each pixel has that many; fewer than before means that the film was wiped."""
        before = self.exposure
        if to.samples < before.samples or to.wipes != before.wipes:
            self._sum[:] = 0
            self._counts[:] = 0
            before = Exposure(0)
        if to.samples > before.samples:
            self._add(to.samples - before.samples)
        have = before.extra if to.region == before.region else 0
        if to.region is not None and to.extra > have:
            self._add_to(to.region, to.extra - have)
        self.exposure = to

    def light(self) -> Floats:
        """The picture so far, in linear light. The next call writes over it."""
        np.multiply(self._sum, self._plate.noise / np.maximum(self._counts, 1), out=self._light)
        self._light += self._plate.light
        return self._light

    def _add(self, samples: int) -> None:
        # k samples at once vary as one sample does, times the root of k. Sliding one field of grain along itself costs
        # a tenth of drawing a new one.
        grain, total = self._grain.reshape(-1), self._sum.reshape(-1)
        cut = int(self._random.integers(1, self.width * self.height)) * 3
        amount = np.float32(math.sqrt(samples) * self._random.choice((-1.0, 1.0)))
        total[:cut] += amount * grain[-cut:]
        total[cut:] += amount * grain[:-cut]
        self._counts += samples

    def _add_to(self, region: Box, samples: int) -> None:
        left, top, right, bottom = region
        part = self._sum[top:bottom, left:right]
        part += self._random.standard_normal(part.shape, np.float32) * np.float32(math.sqrt(samples))
        self._counts[top:bottom, left:right] += samples

    def _make_grain(self, shape: tuple[int, int, int]) -> Floats:
        """The noise of one sample, unit variance: mostly grey, a little coloured, with a few fireflies."""
        height, width, _ = shape
        grain = self._random.standard_normal(shape, np.float32) * np.float32(0.45)
        grain += self._random.standard_normal((height, width, 1), np.float32) * np.float32(0.8)
        flies = self._random.integers(0, height * width, height * width // 1500)
        grain.reshape(-1, 3)[flies] += np.float32(9)
        grain -= grain.mean()
        return np.ascontiguousarray(grain / grain.std(), np.float32)
