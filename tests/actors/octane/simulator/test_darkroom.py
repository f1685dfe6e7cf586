"""Tests of actors/octane/simulator/darkroom.py: what is developed once, what anew, and what orders change in a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.octane.simulator.darkroom import Darkroom, Order, Scene
from actors.octane.simulator.packing import Tonemap
from actors.octane.simulator.render import Render
from actors.octane.simulator.scene import Viewpoint
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG

SCENE = Scene(Viewpoint.around(0))
BEAUTY = Order([wire.RENDER_PASS_BEAUTY], wire.IMAGE_TYPE_HDR_RGBA, Tonemap(buffer=1, space=2), whole=True)


def light(image: wire.ApiRenderImage) -> NDArray[np.float32]:
    """A float picture's colours without the padding."""
    rows = np.frombuffer(image.buffer.data, "<f4").reshape(image.size.y, image.pitch, 4)
    return rows[:, : image.size.x, :3]


@pytest.fixture
async def darkroom() -> Darkroom:
    made = Darkroom(LONG)
    await made.load(SCENE, 0)
    return made


@pytest.fixture
def render() -> Render:
    """One second into its render, by a clock of its own."""
    made = Render(LONG.max_samples, LONG.samples_per_second, LONG.rest)
    made.loaded()
    made.advance(0.0)
    made.advance(1.0)
    return made


async def test_there_is_no_picture_without_a_scene_or_before_the_first_sample(
    darkroom: Darkroom, render: Render
) -> None:
    early = Render(LONG.max_samples, LONG.samples_per_second, LONG.rest)

    assert await darkroom.develop(early, BEAUTY) == [] and await darkroom.light(early) is None
    assert await Darkroom(LONG).develop(render, BEAUTY) == []
    assert await darkroom.passes(early, wire.RENDER_PASS_BEAUTY) is None


async def test_a_picture_is_developed_once_until_there_are_new_samples(darkroom: Darkroom, render: Render) -> None:
    first = await darkroom.develop(render, BEAUTY)
    assert await darkroom.develop(render, BEAUTY) is first

    render.advance(2.0)
    second = await darkroom.develop(render, BEAUTY)

    assert (first[0].tonemappedSamplesPerPixel, second[0].tonemappedSamplesPerPixel) == (40, 80)
    assert (light(first[0]) != light(second[0])).any()


async def test_the_imager_and_sub_sampling_change_the_picture(darkroom: Darkroom, render: Render) -> None:
    (plain,) = await darkroom.develop(render, BEAUTY)
    (gained,) = await darkroom.develop(render, replace(BEAUTY, gains=(2.0, 1.0, 0.5)))
    (coarse,) = await darkroom.develop(render, replace(BEAUTY, sub_sampling=wire.SUBSAMPLEMODE_4X4))
    (curved,) = await darkroom.develop(render, replace(BEAUTY, gamma=2.0))

    before = light(plain)
    np.testing.assert_allclose(light(gained), before * (2.0, 1.0, 0.5), rtol=1e-5)
    np.testing.assert_allclose(light(curved), np.sqrt(np.maximum(before, 0)), rtol=1e-5)
    # 27 rows: the last square is cut off, and has the light of its first row as well.
    assert (light(coarse)[24:27, :4] == before[24, 0]).all()


async def test_a_scene_of_clay_is_grey_and_each_pass_is_another_picture(darkroom: Darkroom, render: Render) -> None:
    both = replace(BEAUTY, passes=[wire.RENDER_PASS_BEAUTY, wire.RENDER_PASS_SHADING_NORMAL])
    beauty, normals = await darkroom.develop(render, both)
    await darkroom.load(replace(SCENE, grey=True), 0)
    shown = await darkroom.light(render)

    assert (light(beauty) != light(normals)).any() and np.ptp(light(beauty), axis=2).max() > 0.1
    # Noise is grey too: all three colours are of the same samples.
    assert shown is not None and np.ptp(shown, axis=2).max() < np.ptp(light(beauty), axis=2).max() / 2
