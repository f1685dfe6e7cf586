"""Answers the calls about who is there, which project is open, and where its camera stands."""

from __future__ import annotations

import math
from typing import Any

import grpc

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.passes import NAMES
from actors.octane.simulator.refusing import CallRefused, invalid
from actors.octane.simulator.scene import Point
from actors.octane.simulator.simulator import ROOT
from protos import octane_livelink_pb2 as livelink
from protos import octane_types_pb2 as wire


def pass_name(short: bool) -> Answer:
    def name(call: RpcCall) -> Fields:
        if call.request.id not in NAMES:
            raise invalid(f"there is no render pass {call.request.id}")
        return result(NAMES[call.request.id][short])

    return name


INFO: dict[str, Answer] = {
    "octaneVersion": lambda call: result(call.octane.settings.generation.value),
    "octaneName": lambda call: result(call.octane.name),
    "isDemoVersion": lambda call: result(False),
    "isSubscriptionVersion": lambda call: result(False),
    "tierIdx": lambda call: result(-1),
    "renderPassName": pass_name(short=False),
    "renderPassShortName": pass_name(short=True),
}


def reset(call: RpcCall) -> Fields:
    call.octane.reset()
    return result(True)


def add_observer(call: RpcCall) -> Fields:
    """Takes an observer. Project changes are sent on every stream anyway."""
    if not call.request.HasField("observer"):
        raise invalid("invalid pointer type")
    return {"callbackId": 4}


PROJECT: dict[str, Answer] = {
    "isValid": lambda call: result(True),
    "rootNodeGraph": lambda call: result(wire.ObjectRef(handle=ROOT, type=wire.ObjectRef.ApiRootNodeGraph)),
    "getCurrentProject": lambda call: result(call.octane.project),
    "resetProject": reset,
    "addObserver": add_observer,
    "removeObserver": lambda call: None,
}
# Changes of the scene are taken at once, so there is nothing to apply.
CHANGES: dict[str, Answer] = {"update": lambda call: None}


def set_camera(call: RpcCall) -> None:
    """Moves the camera; parts that are not set stay. Without a render target there is none."""
    octane, request = call.octane, call.request
    if not octane.aimed_at().handle:
        raise CallRefused(grpc.StatusCode.FAILED_PRECONDITION, "no render target")
    position, target, up = (_vector(request, name) for name in ("position", "target", "up"))
    fov = request.fov if request.HasField("fov") else None
    if fov is not None and not 0 < fov < 180:
        raise invalid("fov must be more than 0 and less than 180 degrees")
    if (position or octane.view.position) == (target or octane.view.target):
        raise invalid("the camera cannot look at where it stands")
    octane.look(position, target, fov, up)


def get_camera(call: RpcCall) -> Fields:
    view = call.octane.view
    if not call.octane.aimed_at().handle:
        # Without a render target Octane answers with a camera of its own.
        return {"position": _vec3((5, 3, 5)), "target": _vec3((0, 0, 0))}
    return {"position": _vec3(view.position), "target": _vec3(view.target), "up": _vec3(view.up), "fov": view.fov}


def _vector(request: Any, name: str) -> Point | None:
    if not request.HasField(name):
        return None
    vector = getattr(request, name)
    point = (vector.x, vector.y, vector.z)
    if not all(map(math.isfinite, point)):
        raise invalid(f"{name} must be finite")
    return point


def _vec3(point: Point) -> livelink.Vec3:
    x, y, z = point
    return livelink.Vec3(x=x, y=y, z=z)


LIVELINK: dict[str, Answer] = {"SetCamera": set_camera, "GetCamera": get_camera}
