"""Moves a camera: orbit, pan, dolly and preset views as pure mathematics, and the history that undo goes back in.

A camera looks from `position` at `target`. Its angles around the target are theta = atan2(dx, dz), so that
position = target + distance * (cos phi sin theta, sin phi, cos phi cos theta), with y up.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

Vector = tuple[float, float, float]

UP: Vector = (0.0, 1.0, 0.0)
# 0.1: at the poles themselves the angles of the camera are not defined, and the picture would flip.
MAX_PHI = math.pi / 2 - 0.1
MIN_DISTANCE, MAX_DISTANCE = 1e-3, 1e6
# Where the camera is in Octane's own presets; taken where position and target are one point.
DEFAULT_DISTANCE = 10.0

# Direction from the target to the camera, and the camera's up vector; the two must not be parallel. The up vectors of
# top and bottom are those to which an orbit's view comes as phi goes to the pole, so that the first drag does not turn it.
_VIEWS: dict[str, tuple[Vector, Vector]] = {
    "front": ((0.0, 0.0, 1.0), UP),
    "back": ((0.0, 0.0, -1.0), UP),
    "right": ((1.0, 0.0, 0.0), UP),
    "left": ((-1.0, 0.0, 0.0), UP),
    "top": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "bottom": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
}


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where a camera is and what it looks at; `fov` in degrees, None where Octane does not say."""

    position: Vector
    target: Vector
    up: Vector = UP
    fov: float | None = None

    def shown(self) -> dict[str, Any]:
        """As commands and events show it."""
        return {
            "position": [round(each, 6) for each in self.position],
            "target": [round(each, 6) for each in self.target],
            "up": [round(each, 6) for each in self.up],
            "fov": None if self.fov is None else round(self.fov, 4),
        }

    def near(self, other: CameraPose) -> bool:
        """Whether both are the same camera, within what floats of 32 bits lose on the wire."""
        pairs = zip(
            (*self.position, *self.target, *self.up, self.fov or 0.0),
            (*other.position, *other.target, *other.up, other.fov or 0.0),
            strict=True,
        )
        return all(math.isclose(one, two, rel_tol=1e-4, abs_tol=1e-4) for one, two in pairs)


def orbit(pose: CameraPose, dx: float, dy: float) -> CameraPose:
    """Turns the camera around its target, so that the scene follows a pointer that goes right by `dx` and down by `dy`.

    In radians: theta falls by `dx`, phi rises by `dy` and stays off the poles.
    """
    theta, phi, distance = angles(pose)
    theta -= dx
    phi = max(-MAX_PHI, min(MAX_PHI, phi + dy))
    offset = (math.cos(phi) * math.sin(theta), math.sin(phi), math.cos(phi) * math.cos(theta))
    return replace(pose, position=_add(pose.target, _scale(offset, distance)), up=UP)


def pan(pose: CameraPose, dx: float, dy: float) -> CameraPose:
    """Moves camera and target, so that the scene follows a pointer that goes right by `dx` and down by `dy`.

    In fractions of their distance: both move to the picture's left by `dx`, and up by `dy`.
    """
    distance = _length(_subtract(pose.position, pose.target)) or DEFAULT_DISTANCE
    right, up = axes(pose)
    shift = _add(_scale(right, -dx * distance), _scale(up, dy * distance))
    return replace(pose, position=_add(pose.position, shift), target=_add(pose.target, shift))


def dolly(pose: CameraPose, factor: float) -> CameraPose:
    """Moves the camera along its view: the distance to the target is multiplied."""
    offset = _subtract(pose.position, pose.target)
    distance = _length(offset)
    direction = _scale(offset, 1 / distance) if distance else (0.0, 0.0, 1.0)
    wanted = max(MIN_DISTANCE, min(MAX_DISTANCE, (distance or DEFAULT_DISTANCE) * factor))
    return replace(pose, position=_add(pose.target, _scale(direction, wanted)))


def preset(pose: CameraPose, view: str) -> CameraPose:
    """Looks at the same target from the same distance, along one of the axes."""
    direction, up = _VIEWS[view]
    distance = _length(_subtract(pose.position, pose.target)) or DEFAULT_DISTANCE
    return replace(pose, position=_add(pose.target, _scale(direction, distance)), up=up)


def angles(pose: CameraPose) -> tuple[float, float, float]:
    """The camera's theta, phi and distance as seen from its target."""
    dx, dy, dz = _subtract(pose.position, pose.target)
    distance = _length((dx, dy, dz))
    if not distance:
        return 0.0, 0.0, DEFAULT_DISTANCE
    return math.atan2(dx, dz), math.asin(max(-1.0, min(1.0, dy / distance))), distance


def axes(pose: CameraPose) -> tuple[Vector, Vector]:
    """The right and the up of the picture, as directions in the scene."""
    forward = _subtract(pose.target, pose.position)
    length = _length(forward)
    forward = _scale(forward, 1 / length) if length else (0.0, 0.0, -1.0)
    right = _cross(forward, pose.up)
    if _length(right) < 1e-9:
        # The up vector lies along the view; any other axis tells a right from a left.
        right = _cross(forward, (0.0, 0.0, -1.0) if abs(forward[1]) > 0.5 else UP)
    right = _scale(right, 1 / _length(right))
    return right, _cross(right, forward)


def fault_of(pose: CameraPose) -> str:
    """Why a camera cannot look this way; empty where it can."""
    offset = _subtract(pose.position, pose.target)
    if _length(offset) < MIN_DISTANCE:
        return f"position and target must be at least {MIN_DISTANCE:g} apart"
    if _length(pose.up) < 1e-6:
        return "up must have a length"
    return ""


class CameraHistory:
    """The cameras that undo goes back to, newest last. Moves with pauses under `pause` seconds between them are one step."""

    def __init__(self, limit: int = 50, pause: float = 0.5) -> None:
        self._steps: deque[CameraPose] = deque(maxlen=limit)
        self._pause = pause
        self._moved: float | None = None
        self._by: str | None = None

    def __len__(self) -> int:
        return len(self._steps)

    def moves(self, now: float, by: str | None) -> bool:
        """Whether a move at this time, by this person, goes on with the last one."""
        return self._moved is not None and now - self._moved < self._pause and by == self._by

    def note(self, before: CameraPose, now: float, by: str | None) -> None:
        """Takes note of a move away from `before`."""
        if not self.moves(now, by):
            self._steps.append(before)
        self._moved, self._by = now, by

    def undo(self) -> CameraPose | None:
        """Takes back the last step: the camera before it; None where there is none. What follows is a new step."""
        self._moved = None
        return self._steps.pop() if self._steps else None

    def clear(self) -> None:
        """Forgets all steps: they belong to another project."""
        self._steps.clear()
        self._moved = None


def _add(one: Vector, two: Vector) -> Vector:
    return one[0] + two[0], one[1] + two[1], one[2] + two[2]


def _subtract(one: Vector, two: Vector) -> Vector:
    return one[0] - two[0], one[1] - two[1], one[2] - two[2]


def _scale(one: Vector, by: float) -> Vector:
    return one[0] * by, one[1] * by, one[2] * by


def _cross(one: Vector, two: Vector) -> Vector:
    return (
        one[1] * two[2] - one[2] * two[1],
        one[2] * two[0] - one[0] * two[2],
        one[0] * two[1] - one[1] * two[0],
    )


def _length(one: Vector) -> float:
    return math.sqrt(one[0] ** 2 + one[1] ** 2 + one[2] ** 2)
