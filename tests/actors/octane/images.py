"""Makes images as Octane sends them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.octane.pixels import LAYOUTS
from protos import octane_types_pb2 as wire


def image_of(values: np.ndarray, kind: int, *, padding: int = 0, **fields: Any) -> wire.ApiRenderImage:
    """Lays an array out as Octane does: rows padded to the pitch, with bytes that must never be seen."""
    height, width, channels = values.shape
    rows = np.full((height, width + padding, channels), 77, values.dtype)
    rows[:, :width] = values
    data = rows.tobytes()
    return wire.ApiRenderImage(
        type=wire.ImageType.Name(kind),
        size=wire.uint32_2(x=width, y=height),
        pitch=width + padding,
        buffer=wire.Buffer(data=data, size=len(data)),
        **fields,
    )


def values_of(kind: int, width: int, height: int, seed: int) -> np.ndarray:
    """Colours of all kinds, some of them beyond black and white."""
    random = np.random.default_rng(seed)
    shape = (height, width, LAYOUTS[kind].channels)
    if LAYOUTS[kind].dtype == np.uint8:
        return random.integers(0, 256, shape, np.uint8)
    return random.uniform(-0.2, 1.4, shape).astype(LAYOUTS[kind].dtype)
