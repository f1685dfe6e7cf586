"""How a connected Octane is watched: which pictures are fetched and shown."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

from actors.octane.passes import track_name
from actors.octane.simulator.simulator import OctaneGeneration, SimulatedKind
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import pictures, said, statuses, watching
from tests.waiting import eventually


async def test_pictures_go_on_when_the_stream_is_opened_again():
    async with simulated(LONG) as octane, watching(octane.address, stream_lifetime=1.1) as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: octane.streams_opened >= 3)
        seen = len(pictures(probe))
        await eventually(lambda: len(pictures(probe)) > seen + 3)

        assert statuses(probe) == ["connected"]


async def test_a_picture_that_was_shown_is_not_shown_again_as_a_new_one():
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: len(pictures(probe)) > 2)
        await probe.ask("pause")
        await eventually(lambda: pictures(probe)[max(pictures(probe))]["samples"] == octane.render.samples)
        grabs, seen = octane.grabs, len(pictures(probe))

        for count in range(1, 4):
            octane.tell(SimulatedKind.NEW_IMAGE)
            octane.tell(SimulatedKind.NEW_IMAGE)
            await eventually(lambda count=count: octane.grabs >= grabs + count)

        assert len(pictures(probe)) == seen
        # Who comes now still gets it, for it is sent again now and then.
        sent = len(probe.frames)
        await eventually(lambda: len(probe.frames) > sent)
        assert len(pictures(probe)) == seen


async def test_one_grab_is_under_way_at_most_however_many_images_are_announced():
    async with simulated(LONG) as octane:
        grabbing, most, image = 0, 0, octane.image

        async def slow_image() -> wire.ApiRenderImage | None:
            nonlocal grabbing, most
            grabbing += 1
            most = max(most, grabbing)
            await asyncio.sleep(0.15)
            grabbing -= 1
            return await image()

        octane.image = slow_image  # type: ignore[method-assign]
        async with watching(octane.address) as probe:
            probe.set_viewers("octane", "main", 3)
            await eventually(lambda: len(pictures(probe)) > 4)
            samples = [header["samples"] for header in pictures(probe).values()]

        assert most == 1
        # What was announced meanwhile was merged: each picture is several images on.
        assert max(late - early for early, late in itertools.pairwise(samples[1:])) > 2


async def test_alpha_5s_own_images_are_shown_without_grabbing():
    async with (
        simulated(replace(LONG, generation=OctaneGeneration.ALPHA_5)) as octane,
        watching(octane.address) as probe,
    ):
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: len(pictures(probe)) > 5)

        assert octane.grabs <= 2
        assert said(probe, "state")[0]["version"] == "15.0.0.5"


async def test_an_unreadable_picture_costs_no_connection():
    async with simulated(LONG) as octane:
        image = octane.image

        async def spoilt() -> wire.ApiRenderImage | None:
            found = await image()
            if found is not None and octane.grabs < 4:
                found = wire.ApiRenderImage(size=found.size, type=wire.IMAGE_TYPE_BC7_UNORM)
            return found

        octane.image = spoilt  # type: ignore[method-assign]
        async with watching(octane.address) as probe:
            probe.set_viewers("octane", "main", 1)
            await eventually(lambda: probe.frames)

            assert statuses(probe) == ["connected"]


def test_tracks_have_the_names_of_their_passes():
    assert [track_name(number) for number in (0, 1003, 501, 10042)] == ["beauty", "z_depth", "pass-501", "pass-10042"]
