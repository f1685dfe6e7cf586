"""Tests of actors/octane/simulator/scene.py."""

from __future__ import annotations

import numpy as np

from actors.octane.simulator.scene import Viewpoint, trace


def test_a_view_is_traced_to_the_same_picture_each_time() -> None:
    one, again = (trace(Viewpoint.around(0), 24, 16) for _ in range(2))

    assert one.light.shape == (16, 24, 3)
    np.testing.assert_array_equal(one.light, again.light)


def test_another_turn_shows_another_picture() -> None:
    assert not np.array_equal(trace(Viewpoint.around(0), 24, 16).light, trace(Viewpoint.around(1), 24, 16).light)
