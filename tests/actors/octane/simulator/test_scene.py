"""Tests of actors/octane/simulator/scene.py."""

from __future__ import annotations

import numpy as np

from actors.octane.simulator.scene import FLOOR, Viewpoint, first_hits, trace


def test_a_view_is_traced_to_the_same_picture_each_time() -> None:
    one, again = (trace(Viewpoint.around(0), 24, 16) for _ in range(2))

    assert one.light.shape == (16, 24, 3)
    np.testing.assert_array_equal(one.light, again.light)


def test_another_turn_shows_another_picture() -> None:
    assert not np.array_equal(trace(Viewpoint.around(0), 24, 16).light, trace(Viewpoint.around(1), 24, 16).light)


def test_the_middle_of_the_picture_meets_the_ball_that_the_camera_looks_at() -> None:
    view = Viewpoint(position=(0.0, 1.0, 8.0), target=(0.0, 1.0, 0.0))
    middle, above = np.array([50.0], np.float32), np.array([0.5], np.float32)

    ball, sky = first_hits(view, middle, middle, 100, 100), first_hits(view, middle, above, 100, 100)

    assert ball.which[0] == 0 and abs(ball.distance[0] - 7.0) < 1e-3
    np.testing.assert_allclose(ball.points[0], (0, 1, 1), atol=1e-3)
    np.testing.assert_allclose(ball.normals[0], (0, 0, 1), atol=1e-3)
    assert sky.which[0] == -1


def test_a_camera_that_looks_straight_down_sees_the_floor() -> None:
    down = Viewpoint(position=(6.0, 10.0, 0.0), target=(6.0, 0.0, 0.0))

    hits = first_hits(down, np.array([8.0], np.float32), np.array([8.0], np.float32), 16, 16)

    assert hits.which[0] == FLOOR and np.isfinite(trace(down, 16, 16).light).all()
