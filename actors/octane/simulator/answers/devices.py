"""Answers the calls about devices, memory and what the scene is made of."""

from __future__ import annotations

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.refusing import invalid
from actors.octane.simulator.scene import BALLS
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire

# 8 GiB: what a simulated device says it has.
TOTAL_MEMORY = 8 << 30
# What the arrays of one pixel take: light, noise, sum, count, grain.
_BYTES_A_PIXEL = 60


def _require_device(call: RpcCall, index: int) -> None:
    """Refuses a device that is not there. Raises CallRefused."""
    if index >= call.octane.settings.devices:
        raise invalid(f"invalid device index {index}")


def _film_size(call: RpcCall) -> int:
    return call.octane.settings.width * call.octane.settings.height * _BYTES_A_PIXEL


def name(call: RpcCall) -> Fields:
    _require_device(call, call.request.index)
    number = f" {call.request.index + 1}" if call.request.index else ""
    return result(call.octane.device + number)


def memory(call: RpcCall) -> Fields:
    _require_device(call, call.request.deviceIx)
    used = _film_size(call)
    return {
        "memUsage": render.ApiDeviceMemoryUsage(
            usedDeviceMemory=used, freeDeviceMemory=TOTAL_MEMORY - used, totalDeviceMemory=TOTAL_MEMORY
        )
    }


def resources(call: RpcCall) -> Fields:
    """What takes the memory. All of it lies on the device."""
    _require_device(call, call.request.deviceIx)
    stats = render.ApiDeviceResourceStatistics()
    if call.request.memoryLocation == wire.MEMORY_LOCATION_DEVICE:
        stats.filmDataSize, stats.geometryDataSize = _film_size(call), 64 * (len(BALLS) + 1)
    return {"resourceStats": stats}


def geometry(call: RpcCall) -> Fields:
    """Spheres on a floor of two triangles."""
    stats = render.ApiGeometryStatistics(triCount=2, sphereCount=len(BALLS), instanceCount=len(BALLS) + 1)
    return {"stats": stats}


def hardware_ray_tracing(call: RpcCall) -> Fields:
    _require_device(call, call.request.index)
    return result(False)


def state(call: RpcCall) -> Fields:
    _require_device(call, call.request.deviceIx)
    failed = call.octane.error != wire.RENDER_ERROR_NONE and not call.request.deviceIx
    return result(wire.RENDER_DEVICE_STATE_ACTIVE_FAILED if failed else wire.RENDER_DEVICE_STATE_ACTIVE_OK)


def error_code(call: RpcCall) -> Fields:
    _require_device(call, call.request.deviceIx)
    return result(wire.RENDER_ERROR_NONE if call.request.deviceIx else call.octane.error)


def error_message(call: RpcCall) -> Fields:
    _require_device(call, call.request.deviceIx)
    failed = call.octane.error != wire.RENDER_ERROR_NONE and not call.request.deviceIx
    return result("the simulator was told to fail" if failed else "")


def error_text(call: RpcCall) -> Fields:
    if call.request.code not in wire.RenderError.values():
        raise invalid(f"there is no error {call.request.code}")
    return result(wire.RenderError.Name(call.request.code).removeprefix("RENDER_ERROR_").replace("_", " ").lower())


DEVICES: dict[str, Answer] = {
    "getDeviceCount": lambda call: result(call.octane.settings.devices),
    "getDeviceName": name,
    "getMemoryUsage": memory,
    "getResourceStatistics": resources,
    "getGeometryStatistics": geometry,
    "getTexturesStatistics": lambda call: {"textureStats": render.ApiTextureStatistics()},
    "deviceUsesHardwareRayTracing": hardware_ray_tracing,
    "deviceSupportsHardwareRayTracing": hardware_ray_tracing,
    "renderDeviceState": state,
    "renderDeviceErrorCode": error_code,
    "renderDeviceErrorMessage": error_message,
    "errorcodeToString": error_text,
}
