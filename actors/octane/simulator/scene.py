"""Traces the simulator's scene, once for each view: balls on a tiled floor at evening.

Octane would shoot thousands of rays through each pixel. Here each pixel is worked out once, together with how much a
path tracer would struggle with it; `film.py` makes the noise that Octane would show on its way there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float, float]

_SUN = np.array([0.64, 0.64, 0.43], np.float32)  # of length 1
_SUNLIGHT = np.array([3.4, 2.6, 1.8], np.float32)
_ZENITH = np.array([0.13, 0.26, 0.55], np.float32)
_HORIZON = np.array([0.95, 0.62, 0.42], np.float32)
_EPSILON = np.float32(1e-3)
_FAR = np.float32(1e6)
_AT_ONCE = 32768


@dataclass(frozen=True, slots=True)
class Ball:
    """One sphere; `gloss` is how much of it is mirror."""

    centre: Point
    radius: float
    colour: tuple[float, float, float]
    gloss: float


BALLS = (
    Ball((0.0, 1.0, 0.0), 1.0, (0.92, 0.93, 0.95), 0.88),
    Ball((-2.15, 0.8, 0.55), 0.8, (0.86, 0.16, 0.10), 0.12),
    Ball((1.95, 0.72, 0.85), 0.72, (0.10, 0.34, 0.78), 0.20),
    Ball((0.85, 0.36, 1.95), 0.36, (1.0, 0.72, 0.25), 0.62),
    Ball((-0.85, 0.3, 1.75), 0.3, (0.16, 0.62, 0.34), 0.10),
    Ball((-0.4, 0.62, -2.6), 0.62, (0.62, 0.30, 0.72), 0.25),
)


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """Where the camera stands and what it looks at."""

    position: Point = (0.0, 2.0, 7.2)
    target: Point = (0.0, 0.75, 0.0)
    fov: float = 44.0
    up: Point = (0.0, 1.0, 0.0)

    @classmethod
    def around(cls, turn: int) -> Viewpoint:
        """The view of the n-th render: each stands a little further round the scene than the one before."""
        angle = math.radians(-24 + 37 * turn)
        return cls(position=(7.2 * math.sin(angle), 1.9 + 0.5 * math.sin(1.7 * turn), 7.2 * math.cos(angle)))


@dataclass(frozen=True, slots=True)
class Plate:
    """What a perfect render would show (linear light), and the noise of one sample per pixel."""

    light: Floats  # (height, width, 3)
    noise: Floats  # (height, width, 1)


@dataclass(frozen=True, slots=True)
class Hits:
    """Where rays meet the scene first; `which` counts the balls, is `FLOOR` for the floor, and -1 for the sky."""

    which: NDArray[np.int8]
    distance: Floats
    points: Floats
    normals: Floats


FLOOR = len(BALLS)


def trace(view: Viewpoint, width: int, height: int) -> Plate:
    """Traces the scene: one ray a pixel, and four more where neighbours differ."""
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    origin, aim = _camera(view, width, height)
    light, noise = _shade_all(origin, aim(columns.ravel() + 0.5, rows.ravel() + 0.5))
    light, noise = light.reshape(height, width, 3), noise.reshape(height, width, 1)

    grey = np.minimum(light.mean(axis=2), 2.0)
    edge = np.zeros((height, width), bool)
    for axis in (0, 1):
        step = np.abs(np.diff(grey, axis=axis)) > 0.06
        edge[(slice(None, -1), slice(None))[:: 1 - 2 * axis]] |= step
        edge[(slice(1, None), slice(None))[:: 1 - 2 * axis]] |= step
    x, y = columns[edge], rows[edge]
    total = np.minimum(light[edge], 4.0)
    for dx in (0.25, 0.75):
        for dy in (0.25, 0.75):
            total = total + np.minimum(_shade_all(origin, aim(x + np.float32(dx), y + np.float32(dy)))[0], 4.0)
    light[edge] = total / 5
    return Plate(np.ascontiguousarray(light, np.float32), np.ascontiguousarray(noise, np.float32))


def first_hits(view: Viewpoint, columns: Floats, rows: Floats, width: int, height: int) -> Hits:
    """Where the rays through some places of the plate meet the scene first; the sky is met far out."""
    origin, aim = _camera(view, width, height)
    rays = aim(columns.ravel(), rows.ravel())
    nearest, which = _nearest(origin, rays)
    points = origin + rays * nearest[:, None]
    normals = np.zeros_like(points)
    for index in range(FLOOR + 1):
        mine = which == index
        normals[mine] = _normals(index, points[mine])
    return Hits(which, nearest, points, normals)


def open_sky(hits: Hits) -> Floats:
    """How open the sky is above each place that was hit, 0 to 1."""
    return np.where(hits.which < 0, np.float32(1), _occlusion(hits.points, hits.normals)).astype(np.float32)


def _camera(view: Viewpoint, width: int, height: int) -> tuple[Floats, Callable[[Floats, Floats], Floats]]:
    """The eye, and what turns places on the plate into rays."""
    eye, target = np.array(view.position, np.float32), np.array(view.target, np.float32)
    forward = _unit((target - eye)[None])[0]
    right = np.cross(forward, np.array(view.up, np.float32))
    if _dot(right[None], right[None])[0] < 1e-8:
        # Looking straight along `up`, from where any other direction will do.
        right = np.cross(forward, np.array([0, 0, -1] if abs(forward[2]) < 0.9 else [1, 0, 0], np.float32))
    right = _unit(right[None].astype(np.float32))[0]
    up = np.cross(right, forward)
    scale = np.float32(math.tan(math.radians(view.fov) / 2) / (width / 2))

    def aim(x: Floats, y: Floats) -> Floats:
        dx, dy = (x - np.float32(width / 2)) * scale, (np.float32(height / 2) - y) * scale
        return _unit(forward + dx[:, None] * right + dy[:, None] * up)

    return eye, aim


def _unit(vectors: Floats) -> Floats:
    unit = vectors / np.sqrt(_dot(vectors, vectors))[:, None]
    return unit.astype(np.float32, copy=False)


def _dot(left: Floats, right: Floats) -> Floats:
    product: Floats = np.einsum("ij,ij->i", left, right)
    return product


def _sky(rays: Floats) -> Floats:
    height = np.clip(rays[:, 1:2], 0.0, 1.0)
    glow = np.clip(rays @ _SUN, 0.0, 1.0)[:, None]
    mix = np.sqrt(height)
    light: Floats = _HORIZON * (1 - mix) + _ZENITH * mix + _SUNLIGHT * (0.35 * glow**24 + 4.0 * glow**900)
    return light


def _hit(origin: Floats, rays: Floats, ball: Ball) -> Floats:
    """Distance along each ray to the ball, or far away."""
    offset = origin - np.array(ball.centre, np.float32)
    along = rays @ offset if offset.ndim == 1 else _dot(rays, offset)
    apart = (offset @ offset if offset.ndim == 1 else _dot(offset, offset)) - np.float32(ball.radius**2)
    root = along * along - apart
    near = -along - np.sqrt(np.maximum(root, 0))
    return np.where((root > 0) & (near > _EPSILON), near, _FAR).astype(np.float32)


def _shadow(points: Floats) -> Floats:
    """How much of the sun each point sees, 0 to 1: an edge as soft as the way to what hides it is long."""
    seen = np.ones(len(points), np.float32)
    for ball in BALLS:
        offset = np.array(ball.centre, np.float32) - points
        along = offset @ _SUN
        apart = np.sqrt(np.maximum(_dot(offset, offset) - along * along, 0))
        blur = 0.04 + 0.07 * np.maximum(along, 0)
        cover = np.clip((ball.radius + blur - apart) / (2 * blur), 0, 1)
        seen *= np.where(along > 0.5 * ball.radius, 1 - cover, 1)
    return seen


def _occlusion(points: Floats, normals: Floats) -> Floats:
    """How open the sky is above each point, 0 to 1."""
    opened = np.ones(len(points), np.float32)
    for ball in BALLS:
        offset = np.array(ball.centre, np.float32) - points
        far = np.maximum(_dot(offset, offset), np.float32(ball.radius**2))
        facing = np.clip(_dot(offset, normals) / np.sqrt(far), 0, 1)
        opened *= 1 - np.minimum(facing * np.float32(ball.radius**2) / far, 1) * 0.85
    return opened


def _shade_all(origin: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Shades rays a few at a time: their many intermediate values then stay in the processor's cache."""
    parts = [_shade(origin, rays[at : at + _AT_ONCE], bounces=1) for at in range(0, len(rays), _AT_ONCE)]
    if not parts:
        return rays, rays[:, :1]
    return np.concatenate([light for light, _ in parts]), np.concatenate([noise for _, noise in parts])


def _nearest(origin: Floats, rays: Floats) -> tuple[Floats, NDArray[np.int8]]:
    """How far each ray goes, and what it meets there."""
    nearest = np.full(len(rays), _FAR, np.float32)
    which = np.full(len(rays), -1, np.int8)
    for index, ball in enumerate(BALLS):
        distance = _hit(origin, rays, ball)
        closer = distance < nearest
        nearest[closer], which[closer] = distance[closer], index
    fall = rays[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(fall < -1e-4, -(origin[1] if origin.ndim == 1 else origin[:, 1]) / fall, _FAR)
    ground = (floor > _EPSILON) & (floor < nearest)
    nearest[ground], which[ground] = floor[ground], FLOOR
    return nearest, which


def _normals(index: int, points: Floats) -> Floats:
    """The normals of one surface at some of its points."""
    if index == FLOOR:
        return np.broadcast_to(np.array([0, 1, 0], np.float32), points.shape)
    ball = BALLS[index]
    return (points - np.array(ball.centre, np.float32)) / np.float32(ball.radius)


def albedo(index: int, points: Floats) -> Floats:
    """The colour of one surface at some of its points, before any light falls on it."""
    if index == FLOOR:
        tiles = (np.floor(points[:, 0]) + np.floor(points[:, 2])) % 2
        return np.where(tiles[:, None] > 0, np.float32(0.62), np.float32(0.20)) * np.array([1.0, 0.95, 0.9], np.float32)
    return np.array(BALLS[index].colour, np.float32)[None]


def _shade(origin: Floats, rays: Floats, *, bounces: int) -> tuple[Floats, Floats]:
    """The light that comes back along each ray, and its noise."""
    nearest, which = _nearest(origin, rays)
    light = _sky(rays)
    noise = np.full((len(rays), 1), 0.02, np.float32)
    for index in range(FLOOR + 1):
        mine = np.flatnonzero(which == index)
        if len(mine):
            start = origin if origin.ndim == 1 else origin[mine]
            points = start + rays[mine] * nearest[mine, None]
            light[mine], noise[mine] = _surface(index, points, rays[mine], light[mine], bounces)
    return light, noise


def _surface(index: int, points: Floats, rays: Floats, sky: Floats, bounces: int) -> tuple[Floats, Floats]:
    """The light that one surface sends back along its rays."""
    normals = _normals(index, points)
    colour, gloss = albedo(index, points), np.float32(0.06 if index == FLOOR else BALLS[index].gloss)

    shine = np.clip(normals @ _SUN, 0, 1) * _shadow(points)
    opened = _occlusion(points, normals)
    ambient = (0.5 + 0.5 * normals[:, 1]) * opened
    light = colour * (shine[:, None] * _SUNLIGHT * 0.5 + ambient[:, None] * (_ZENITH + _HORIZON) * 0.30)
    noise = 0.30 * light.mean(axis=1, keepdims=True) + 0.10 * (1 - opened[:, None]) + 0.03

    facing = np.clip(-_dot(rays, normals), 0, 1)
    mirror = (gloss + (1 - gloss) * (1 - facing) ** 5 * 0.8)[:, None]
    if bounces:
        back = _unit(rays + 2 * facing[:, None] * normals)
        seen, extra = _shade(points + normals * np.float32(0.01), back, bounces=bounces - 1)
        tint = colour if gloss > 0.5 else np.float32(1)
        light = light * (1 - mirror) + np.minimum(seen, 6.0) * mirror * tint
        noise = noise * (1 - mirror) + (extra + 0.12) * mirror
    if index == FLOOR:
        # The floor melts into the sky far out, where its tiles are smaller than a pixel.
        haze = np.clip((np.hypot(points[:, 0], points[:, 2]) - 9) / 26, 0, 1)[:, None] ** 0.8
        light = light * (1 - haze) + sky * haze
    return light.astype(np.float32), noise.astype(np.float32)
