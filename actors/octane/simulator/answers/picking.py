"""Answers the calls that look into the scene: what lies behind a pixel, what colour it has, how large all is."""

from __future__ import annotations

import numpy as np

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.scene import BALLS, Floats, first_hits
from actors.octane.simulator.simulator import FIRST_OBJECT, node
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire

_FLOOR_REACH = 35.0  # where the floor has melted into the sky


def _inside(call: RpcCall) -> bool:
    return bool(call.request.x < call.octane.settings.width and call.request.y < call.octane.settings.height)


def pick(call: RpcCall) -> Fields:
    """What the ray through the middle of a pixel meets first. The sky is nothing, and so is all outside the picture."""
    octane, request = call.octane, call.request
    if not _inside(call) or not request.intersectionsSize or not octane.aimed_at().handle:
        return result(0)
    x, y = (np.array([value + 0.5], np.float32) for value in (request.x, request.y))
    hits = first_hits(octane.view, x, y, octane.settings.width, octane.settings.height)
    if hits.which[0] < 0:
        return result(0)
    place, normal = _point(hits.points[0]), _point(hits.normals[0])
    met = render.ApiRenderEngine.ApiRenderEngine_PickIntersection(
        node=node(FIRST_OBJECT + int(hits.which[0])),
        depth=float(hits.distance[0]),
        position=place,
        geometricNormal=normal,
        smoothedNormal=normal,
        positionOnPrimitive=place,
    )
    return {"result": 1, "intersections": met}


async def pick_white_point(call: RpcCall) -> Fields:
    """The light of a pixel; none outside of the picture, nor before the first sample."""
    light = await call.octane.darkroom.light(call.octane.render)
    if light is None or not _inside(call):
        return result(False)
    return {"result": True, "whitePoint": _point(np.maximum(light[call.request.y, call.request.x], 0))}


def scene_bounds(call: RpcCall) -> Fields:
    """The box around the floor and the balls."""
    top = max(ball.centre[1] + ball.radius for ball in BALLS)
    return {
        "result": True,
        "bboxMin": wire.float_3(x=-_FLOOR_REACH, y=0.0, z=-_FLOOR_REACH),
        "bboxMax": wire.float_3(x=_FLOOR_REACH, y=top, z=_FLOOR_REACH),
    }


def _point(values: Floats) -> wire.float_3:
    x, y, z = (float(value) for value in values)
    return wire.float_3(x=x, y=y, z=z)


PICKING: dict[str, Answer] = {"pick": pick, "pickWhitePoint": pick_white_point, "getSceneBounds": scene_bounds}
