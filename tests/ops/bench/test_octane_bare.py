"""Tests of ops/bench/octane_bare.py: the client that the actor is compared with fetches and encodes what it counts."""

from __future__ import annotations

import grpc

from ops.bench.octane_bare import fetch, grab
from ops.bench.stand import partner
from protos.octane_render_pb2_grpc import ApiRenderEngineServiceStub
from tests.actors.octane.simulation import LONG, simulated
from tests.waiting import eventually


async def test_one_grab_is_a_jpeg_and_is_released() -> None:
    async with simulated(LONG) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        await eventually(lambda: octane.render.samples)

        encoded = await grab(ApiRenderEngineServiceStub(channel))  # type: ignore[no-untyped-call]

        # The headers of a JPEG alone take more than 600 bytes; as raw pixels the picture has 5184.
        assert 600 < encoded < 48 * 27 * 4
        assert (octane.grabs, octane.releases) == (1, 1)


async def test_pictures_are_fetched_at_the_rate_that_was_asked_for() -> None:
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples)

        assert await fetch(octane.address, rate=20.0, seconds=0.25) == octane.grabs == 5


async def test_as_a_process_it_says_how_many_pictures_it_fetched() -> None:
    async with simulated(LONG) as octane, partner("octane_bare", octane.address) as client:
        await eventually(lambda: octane.render.samples)

        assert await client.ask("grab", rate=20.0, seconds=0.1) == {"pictures": 2}
        assert octane.grabs == 2
