from __future__ import annotations

import threading

import numpy as np

from tests.actors.camera.scripted import Script
from tests.waiting import PATIENCE, eventually


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
        return np.zeros((24, 32), dtype=np.uint8).view(Telling)

    script.pixels = pixels
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 3)

    assert overlapped == [True]


async def test_a_picture_that_cannot_be_encoded_is_a_bad_picture(script: Script) -> None:
    script.pixels = lambda: np.zeros((24, 32, 7 if script.grabbed == 2 else 3), dtype=np.uint8)
    async with script.camera() as camera:
        camera.set_viewers("camera", "main", 1)
        await eventually(lambda: len(camera.frames) >= 5)

        assert script.opened == 1
        assert (await camera.ask("describe"))["statistics"]["dropped"] >= 1
