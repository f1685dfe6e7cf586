"""Tests of actors/octane/simulator/passes.py: what each pass shows of one view."""

from __future__ import annotations

import numpy as np

from actors.octane.simulator.passes import CUSTOM_1, NAMES, PASSES, GeometryBuffer
from actors.octane.simulator.scene import Viewpoint
from protos import octane_types_pb2 as wire

VIEW = Viewpoint(position=(0.0, 1.0, 8.0), target=(0.0, 1.0, 0.0))
BEAUTY = np.full((48, 64, 3), 0.5, np.float32)


def test_every_pass_is_another_picture_of_the_same_size() -> None:
    geometry = GeometryBuffer(VIEW, 64, 48)

    shown = {each: geometry.show(each, BEAUTY.copy()) for each in PASSES}

    assert set(PASSES) == set(NAMES) and all(light.shape == (48, 64, 3) for light in shown.values())
    assert len({light.tobytes() for light in shown.values()}) == len(PASSES)
    assert all(np.isfinite(light).all() and light.min() >= 0 and light.max() <= 1 for light in shown.values())


def test_passes_show_what_was_hit() -> None:
    geometry = GeometryBuffer(VIEW, 64, 48)

    depth = geometry.show(wire.RENDER_PASS_Z_DEPTH, BEAUTY)
    normal = geometry.show(wire.RENDER_PASS_SHADING_NORMAL, BEAUTY)

    # The floor in front, the ball 7 units away, the sky.
    assert depth[40, 2, 0] > depth[24, 32, 0] > depth[0, 0, 0] == 0
    np.testing.assert_allclose(depth[24, 32], 1 - 7 / 20, atol=0.01)
    np.testing.assert_allclose(normal[24, 32], (0.5, 0.5, 1.0), atol=0.05)
    np.testing.assert_allclose(geometry.show(CUSTOM_1, BEAUTY)[0, 0], (0.5, 0.175, 0.05))
    assert geometry.show(wire.RENDER_PASS_BEAUTY, BEAUTY) is BEAUTY


def test_the_sky_is_transparent_and_edges_are_in_between() -> None:
    alpha = GeometryBuffer(VIEW, 64, 48).alpha

    assert alpha.shape == (48, 64, 1) and alpha[0, 0] == 0 and alpha[24, 32] == 1
    assert ((alpha > 0) & (alpha < 1)).any()
