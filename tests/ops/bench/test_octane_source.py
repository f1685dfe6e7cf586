"""Tests of ops/bench/octane_source.py: pictures made beforehand come round, each with the time of its announcement."""

from __future__ import annotations

import asyncio
import time

import pytest

from ops.bench.octane_source import PICTURES, WRAP, LoopingOctane
from ops.bench.stand import partner
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG
from tests.actors.octane.simulator.asking import call
from tests.waiting import eventually


class RecordedOctane(LoopingOctane):
    """One that keeps what clients are shown at each announcement, and when that was."""

    def __init__(self) -> None:
        super().__init__(LONG)
        self.announced: list[tuple[float, wire.ApiRenderImage]] = []
        self._keeping: list[asyncio.Task[None]] = []

    def announce(self) -> None:
        super().announce()
        self._keeping.append(asyncio.create_task(self._keep(time.monotonic() % WRAP)))

    async def _keep(self, when: float) -> None:
        # A copy: the picture is shown again, with another time.
        kept = wire.ApiRenderImage()
        kept.CopyFrom((await self.images())[0])
        self.announced.append((when, kept))


async def test_pictures_come_round_two_in_a_row_differ_and_each_has_its_time() -> None:
    octane = RecordedOctane()
    assert await octane.images() == []

    working = asyncio.create_task(octane.work())
    try:
        await eventually(lambda: len(octane.announced) > PICTURES)
    finally:
        working.cancel()
        await asyncio.wait({working})

    pictures = [image.buffer.data for _, image in octane.announced]
    assert len(set(pictures[:PICTURES])) == PICTURES and pictures[PICTURES] == pictures[0]
    assert [image.tonemappedSamplesPerPixel for _, image in octane.announced[:3]] == [1, 2, 3]
    # The times are apart by what a 32-bit float rounds, and by what lies between the two looks at the clock.
    assert all(image.renderTime == pytest.approx(when, abs=0.05) for when, image in octane.announced)


async def test_as_a_process_it_tells_its_address_once_there_are_pictures() -> None:
    async with partner("octane_source", "BETA_2", "48", "27", "50") as source:
        address = str((await source.ask("address"))["address"])
        async with asyncio.timeout(20):
            while not (answer := await call(address, "grabRenderResult")).result:
                pass

    (image,) = answer.renderImages.data
    assert (image.size.x, image.size.y, image.pitch) == (48, 27, 48 + 64)
    assert len(image.buffer.data) == (48 + 64) * 27 * 4
