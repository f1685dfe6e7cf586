"""Tone mapping is set for the time of a watch, and what was set before comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.client import OctaneClient
from actors.octane.simulator.packing import Tonemap as Settings
from actors.octane.tonemap import OctaneTonemap
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import watching
from tests.waiting import eventually

OURS = Settings()
ANOTHER_S = Settings(
    buffer=wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT,
    space=wire.NAMED_COLOR_SPACE_ACESCG,
    cryptomatte_false_color=False,
    premultiplied=wire.PREMULTIPLIED_ALPHA_TYPE_NONE,
)


async def test_what_was_set_before_comes_back_when_the_actor_leaves():
    async with simulated(LONG) as octane:
        octane.controls.tonemap = replace(ANOTHER_S)
        async with watching(octane.address):
            await eventually(lambda: octane.controls.tonemap == OURS)

        await eventually(lambda: octane.controls.tonemap == ANOTHER_S)


async def test_what_is_as_needed_already_is_not_set():
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client:
        tonemap = OctaneTonemap()
        await tonemap.begin(client)
        await tonemap.restore(client)

        assert octane.calls["setAsyncTonemapParams1"] == 0


async def test_a_second_connection_does_not_take_our_own_settings_for_those_of_before():
    tonemap = OctaneTonemap()
    async with simulated(LONG) as octane:
        octane.controls.tonemap = replace(ANOTHER_S)
        for _ in range(2):
            async with OctaneClient(octane.address) as client:
                await tonemap.begin(client)
        assert octane.controls.tonemap == OURS

        async with OctaneClient(octane.address) as client:
            await tonemap.restore(client)

        assert octane.controls.tonemap == ANOTHER_S


@pytest.mark.parametrize("space", [wire.NAMED_COLOR_SPACE_OTHER, wire.NAMED_COLOR_SPACE_OCIO])
async def test_a_colour_space_that_cannot_be_named_is_not_given_back(space):
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client:
        octane.controls.tonemap = replace(ANOTHER_S, space=space)
        tonemap = OctaneTonemap()
        await tonemap.begin(client)
        assert octane.controls.tonemap == OURS

        await tonemap.restore(client)

        assert octane.controls.tonemap == OURS
