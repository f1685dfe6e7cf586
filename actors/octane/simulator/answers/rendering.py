"""Answers the calls that steer the render: its state, its target, its region and its modes."""

from __future__ import annotations

from typing import Any

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.listeners import SimulatedKind
from actors.octane.simulator.refusing import invalid, require_node
from actors.octane.simulator.simulator import CAMERA, GEOMETRY, NODES, node
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire


def pause(call: RpcCall) -> None:
    call.octane.render.pause()
    call.octane.tell(SimulatedKind.NEW_STATISTICS)


def resume(call: RpcCall) -> None:
    call.octane.render.resume()
    call.octane.tell(SimulatedKind.NEW_STATISTICS)


def restart(call: RpcCall) -> None:
    call.octane.render.restart()
    call.octane.tell(SimulatedKind.NEW_STATISTICS)


def stop(call: RpcCall) -> None:
    call.octane.render.stop()
    call.octane.tell(SimulatedKind.NEW_STATISTICS)


def set_target(call: RpcCall) -> Fields:
    require_node(call.request.targetNode, NODES)
    return result(call.octane.aim(call.request.targetNode))


def part_of_target(handle: int) -> Answer:
    """Answers with a node of the render target; with none where there is no target."""
    return lambda call: result(node(handle) if call.octane.aimed_at().handle else wire.ObjectRef())


def set_region(call: RpcCall) -> None:
    """Renders only a part. What lies outside of the picture is cut off; a region without pixels is refused."""
    octane, request = call.octane, call.request
    if not request.active:
        octane.controls.region = request
        octane.render.limit(None)
        return
    least, most = request.regionMin, request.regionMax
    box = (least.x, least.y, min(most.x, octane.settings.width), min(most.y, octane.settings.height))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise invalid("the render region is empty")
    octane.controls.region = request
    octane.render.limit(box)


def get_region(call: RpcCall) -> Fields:
    region = call.octane.controls.region
    return {
        "active": region.active,
        "regionMin": region.regionMin,
        "regionMax": region.regionMax,
        "featherWidth": region.featherWidth,
    }


def set_priority(call: RpcCall) -> None:
    priority = _known(render.ApiRenderEngine.RenderPriority, call.request.priority)
    if priority == render.ApiRenderEngine.PRIORITY_COUNT:
        raise invalid("PRIORITY_COUNT is no priority")
    call.octane.controls.priority = priority


def set_sub_sampling(call: RpcCall) -> None:
    mode = _known(wire.SubSampleMode, call.request.mode)
    if mode == wire.SubSampleMode_UNSPECIFIED:
        raise invalid("the sub-sample mode is not given")
    if mode != call.octane.controls.sub_sampling:
        call.octane.controls.sub_sampling = mode
        call.octane.render.restart()


def set_clay_mode(call: RpcCall) -> None:
    mode = _known(wire.ClayMode, call.request.mode)
    if mode != call.octane.controls.clay:
        call.octane.controls.clay = mode
        call.octane.render.restart()


def set_fps(call: RpcCall) -> None:
    if not call.request.fps > 0:
        raise invalid("fps must be more than 0")
    call.octane.controls.fps = call.request.fps


def reset_image_ready(call: RpcCall) -> None:
    call.octane.controls.image_ready = False


def reset_failure(call: RpcCall) -> None:
    call.octane.controls.failed = False


def _loading(call: RpcCall) -> Fields:
    return result(call.octane.render.state == wire.RSTATE_WAITING_FOR_DATA)


def _level(call: RpcCall) -> Fields:
    return result(wire.CLevelT(value=call.octane.render.change_level))


def _image_level(call: RpcCall) -> Fields:
    render = call.octane.render
    return result(wire.CLevelT(value=render.change_level - (0 if render.region_samples else 1)))


def _known(kind: Any, value: int) -> int:
    """Refuses a number that the enum does not have. Raises CallRefused."""
    if value not in kind.values():
        raise invalid(f"{kind.DESCRIPTOR.name} has no value {value}")
    return value


RENDERING: dict[str, Answer] = {
    "pauseRendering": pause,
    "continueRendering": resume,
    "restartRendering": restart,
    "stopRendering": stop,
    "isRenderingPaused": lambda call: result(call.octane.render.state == wire.RSTATE_PAUSED),
    "isImageReady": lambda call: result(call.octane.controls.image_ready),
    "resetImageReady": reset_image_ready,
    "isRenderFailure": lambda call: result(call.octane.controls.failed),
    "resetRenderFailure": reset_failure,
    "setRenderTargetNode": set_target,
    "getRenderTargetNode": lambda call: result(call.octane.aimed_at()),
    "getRenderCameraNode": part_of_target(CAMERA),
    "getRenderGeometryNode": part_of_target(GEOMETRY),
    "setRenderRegion": set_region,
    "getRenderRegion": get_region,
    "setRenderPriority": set_priority,
    "renderPriority": lambda call: result(call.octane.controls.priority),
    "setSubSampleMode": set_sub_sampling,
    "getSubSampleMode": lambda call: result(call.octane.controls.sub_sampling),
    "setClayMode": set_clay_mode,
    "clayMode": lambda call: result(call.octane.controls.clay),
    "setFps": set_fps,
    "fps": lambda call: result(call.octane.controls.fps),
    "isCompiling": _loading,
    "isCompressingTextures": lambda call: result(False),
    "hasPendingRenderData": _loading,
    "getCurrentChangeLevel": _level,
    "getRenderImageChangeLevel": _image_level,
    "getRenderRestartedChangeLevel": lambda call: result(wire.CLevelT(value=call.octane.render.restarted_level)),
}
