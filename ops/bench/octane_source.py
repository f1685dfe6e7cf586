"""Serves a simulated Octane that shows pictures made beforehand, so that it costs little beside who is measured.

`python -m ops.bench.octane_source GENERATION WIDTH HEIGHT RATE` takes one JSON order a line: `address`, which is answered once
the pictures are made. The `renderTime` of a
picture is the time at which it was announced, by the machine's monotonic clock, in seconds past a thousand.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time

from actors.octane.simulator.server import run
from actors.octane.simulator.settings import OctaneGeneration, SimulatorSettings
from actors.octane.simulator.simulator import Simulator
from protos import octane_types_pb2 as wire

# Enough that two pictures in a row differ everywhere.
PICTURES = 6
# What `renderTime` counts up to: it is a float of 32 bits, which has no room for the milliseconds of a long uptime.
WRAP = 1000.0


class LoopingOctane(Simulator):
    """An Octane whose render never ends, and whose pictures come round again and again."""

    def __init__(self, settings: SimulatorSettings) -> None:
        super().__init__(settings)
        self._loop: list[list[wire.ApiRenderImage]] = []
        self._number = 0
        self.made = threading.Event()

    async def work(self) -> None:
        """Makes the pictures, then announces one after the other until cancelled."""
        await self._load()
        self.render.advance(0.0)
        for second in range(1, PICTURES + 1):
            self.render.advance(float(second))
            made = [wire.ApiRenderImage.FromString(each.SerializeToString()) for each in await super().images()]
            self._loop.append(made)
        self.made.set()
        began, period = time.monotonic(), 1 / self.settings.images_per_second
        for number in itertools.count(1):
            await asyncio.sleep(began + number * period - time.monotonic())
            self.render.advance(PICTURES + time.monotonic() - began)
            for image in self._loop[number % PICTURES]:
                image.tonemappedSamplesPerPixel = number
                image.renderTime = time.monotonic() % WRAP
            self._number = number
            self.announce()

    async def images(self) -> list[wire.ApiRenderImage]:
        """The picture whose turn it is."""
        return self._loop[self._number % PICTURES] if self._number else []


def main() -> None:
    """Serves until its input ends."""
    generation, width, height, rate = sys.argv[1:]
    settings = SimulatorSettings(
        port=0,
        generation=OctaneGeneration[generation],
        width=int(width),
        height=int(height),
        pitch=int(width) + 64,
        images_per_second=float(rate),
        max_samples=1 << 30,
    )
    octane = LoopingOctane(settings)
    threading.Thread(target=lambda: asyncio.run(run(octane)), daemon=True, name="octane").start()
    for _ in sys.stdin:
        made = octane.made.wait(120)
        answer = {"address": octane.address} if made else {"fault": "it has made no pictures"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
