"""Properties of the camera's mathematics, and its history."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.octane.camera import (
    MAX_PHI,
    MIN_DISTANCE,
    UP,
    CameraHistory,
    CameraPose,
    angles,
    axes,
    dolly,
    fault_of,
    orbit,
    pan,
    preset,
)

numbers = st.floats(-100, 100)
vectors = st.tuples(numbers, numbers, numbers)
turns = st.floats(-3, 3)


@st.composite
def poses(draw: st.DrawFn) -> CameraPose:
    pose = CameraPose(draw(vectors), draw(vectors), fov=draw(st.floats(1, 120)))
    assume(math.dist(pose.position, pose.target) > 0.01)
    return pose


@st.composite
def level_poses(draw: st.DrawFn) -> CameraPose:
    """A pose whose phi is within what an orbit allows."""
    pose = draw(poses())
    assume(abs(angles(pose)[1]) < MAX_PHI - 0.01)
    return pose


def close(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) for a, b in zip(one, two, strict=True))


@given(level_poses())
def test_an_orbit_by_nothing_leaves_the_camera_where_it_is(pose):
    assert close(orbit(pose, 0, 0).position, pose.position)


@given(level_poses(), st.floats(-0.001, 0.001))
def test_the_first_small_orbit_moves_the_camera_by_little(pose, angle):
    moved = orbit(pose, angle, 0)

    assert math.dist(moved.position, pose.position) <= math.dist(pose.position, pose.target) * 0.0011


@given(poses(), turns, turns)
def test_an_orbit_keeps_target_and_distance_and_stays_off_the_poles(pose, dx, dy):
    moved = orbit(pose, dx, dy)

    assert moved.target == pose.target and moved.fov == pose.fov and moved.up == UP
    assert math.isclose(math.dist(moved.position, moved.target), math.dist(pose.position, pose.target), rel_tol=1e-6)
    assert abs(angles(moved)[1]) <= MAX_PHI + 1e-6


@given(level_poses(), st.floats(-1, 1))
def test_an_orbit_and_its_opposite_lead_back(pose, angle):
    assert close(orbit(orbit(pose, angle, 0), -angle, 0).position, pose.position)


def test_theta_is_measured_from_the_z_axis_towards_x():
    assert angles(CameraPose((0, 0, 5), (0, 0, 0)))[:2] == (0, 0)
    assert math.isclose(angles(CameraPose((5, 0, 0), (0, 0, 0)))[0], math.pi / 2)
    assert close(orbit(CameraPose((0, 0, 5), (0, 0, 0)), -math.pi / 2, 0).position, (5, 0, 0))


@given(poses(), st.floats(-2, 2), st.floats(-2, 2))
def test_a_pan_moves_camera_and_target_alike_and_across_the_view(pose, dx, dy):
    moved = pan(pose, dx, dy)
    distance = math.dist(pose.position, pose.target)
    shift = tuple(b - a for a, b in zip(pose.position, moved.position, strict=True))
    view = tuple(b - a for a, b in zip(pose.position, pose.target, strict=True))

    assert close(shift, tuple(b - a for a, b in zip(pose.target, moved.target, strict=True)))
    assert math.isclose(math.hypot(*shift), math.hypot(dx, dy) * distance, rel_tol=1e-5, abs_tol=1e-5)
    assert abs(sum(a * b for a, b in zip(shift, view, strict=True))) <= 1e-6 * max(1, distance**2 * 8)


def test_a_pan_moves_the_camera_to_the_left_and_up_while_the_pointer_goes_right_and_down():
    assert close(pan(CameraPose((0, 0, 10), (0, 0, 0)), 0.1, 0.2).position, (-1, 2, 10))


def test_an_orbit_raises_the_camera_while_the_pointer_goes_down():
    assert angles(orbit(CameraPose((0, 0, 10), (0, 0, 0)), 0, 0.3))[1] == pytest.approx(0.3)


@given(poses())
def test_the_pictures_axes_are_a_right_angle_to_the_view_and_to_each_other(pose):
    right, up = axes(pose)
    view = tuple(b - a for a, b in zip(pose.position, pose.target, strict=True))
    length = math.hypot(*view)

    for one, two in ((right, up), (right, view), (up, view)):
        assert abs(sum(a * b for a, b in zip(one, two, strict=True))) < 1e-6 * max(1, length)
    assert math.isclose(math.hypot(*right), 1, rel_tol=1e-6) and math.isclose(math.hypot(*up), 1, rel_tol=1e-6)


@given(poses(), st.floats(0.1, 10))
def test_a_dolly_multiplies_the_distance_and_its_inverse_leads_back(pose, factor):
    moved = dolly(pose, factor)

    distance = math.dist(pose.position, pose.target)
    assert math.isclose(math.dist(moved.position, moved.target), distance * factor, rel_tol=1e-4)
    assert close(dolly(moved, 1 / factor).position, pose.position)


def test_a_dolly_never_reaches_the_target():
    pose = CameraPose((0, 0, 1), (0, 0, 0))
    for _ in range(20):
        pose = dolly(pose, 0.01)

    assert math.isclose(math.dist(pose.position, pose.target), MIN_DISTANCE)


@given(poses(), st.sampled_from(["front", "back", "left", "right", "top", "bottom"]))
def test_a_preset_keeps_target_and_distance_and_no_up_lies_along_the_view(pose, view):
    moved = preset(pose, view)

    assert moved.target == pose.target and not fault_of(moved)
    assert math.isclose(math.dist(moved.position, moved.target), math.dist(pose.position, pose.target), rel_tol=1e-6)
    seen = tuple(b - a for a, b in zip(moved.position, moved.target, strict=True))
    assert abs(sum(a * b for a, b in zip(seen, moved.up, strict=True))) < 1e-4


@pytest.mark.parametrize("view", ["top", "bottom"])
def test_the_first_orbit_from_above_or_below_does_not_turn_the_picture(view):
    before = preset(CameraPose((0, 0, 10), (0, 0, 0)), view)
    after = orbit(before, 0, 0)

    for one, two in zip(axes(before), axes(after), strict=True):
        assert sum(a * b for a, b in zip(one, two, strict=True)) > 0.99


def test_a_camera_in_its_own_target_can_be_orbited_and_moved_out_of_it():
    inside = CameraPose((1, 1, 1), (1, 1, 1))

    assert fault_of(inside)
    for moved in (orbit(inside, 0.1, 0.1), dolly(inside, 2), preset(inside, "left")):
        assert not fault_of(moved)


def test_a_drag_is_one_step_and_a_pause_ends_it():
    history = CameraHistory(pause=0.5)
    start, middle = CameraPose((0, 0, 10), (0, 0, 0)), CameraPose((5, 0, 10), (0, 0, 0))
    for place in range(10):
        history.note(start if place == 0 else middle, 0.1 * place, "ann")
    history.note(middle, 2.0, "ann")

    assert len(history) == 2
    assert history.undo() == middle
    assert history.undo() == start
    assert history.undo() is None


def test_another_person_begins_a_step_of_their_own():
    history = CameraHistory()
    pose = CameraPose((0, 0, 10), (0, 0, 0))
    history.note(pose, 0.0, "ann")
    history.note(pose, 0.1, "bob")

    assert len(history) == 2


def test_the_history_is_bounded():
    history = CameraHistory(limit=3)
    for place in range(10):
        history.note(CameraPose((0, 0, place + 1), (0, 0, 0)), place * 10.0, None)

    assert [pose.position[2] for pose in iter(history.undo, None)] == [10, 9, 8]
