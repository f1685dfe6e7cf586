"""Answers the calls about pictures: callbacks, grabs, statistics, tone mapping, passes, saving."""

from __future__ import annotations

import asyncio

import grpc

from actors.octane.simulator.answers.call import Answer, Fields, RpcCall, result
from actors.octane.simulator.colour import SPACES
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.packing import Tonemap
from actors.octane.simulator.refusing import CallRefused, invalid, require_node
from actors.octane.simulator.reporting import statistics_of
from actors.octane.simulator.saving import SaveRefused, save
from actors.octane.simulator.simulator import NODES
from protos import octane_types_pb2 as wire


def registering(name: str) -> Answer:
    """Answers the registration of a kind of callback."""
    return lambda call: {"callbackId": call.octane.register(name, call.request, call.peer)}


async def grab(call: RpcCall) -> Fields:
    octane = call.octane
    if OctaneFault.HELD in octane.faults and octane.unreleased:
        return result(False)
    images = await octane.images()
    if not images:
        return result(False)
    octane.unreleased += 1
    return {"result": True, "renderImages": wire.ApiArrayApiRenderImage(data=images)}


def release(call: RpcCall) -> None:
    call.octane.unreleased = 0


def statistics(call: RpcCall) -> Fields:
    return {"statistics": statistics_of(call.octane)}


def set_tonemap(call: RpcCall) -> None:
    """Takes the parameters of the next pictures; bytes are only to be had as the SDK describes them."""
    request = call.request
    if (
        request.bufferType not in wire.TonemapBufferType.values()
        or request.bufferType == wire.TONEMAP_BUFFER_TYPE_COUNT
    ):
        raise invalid(f"there is no tonemap buffer type {request.bufferType}")
    if request.colorSpace not in SPACES:
        raise invalid("the colour space must be a named one, and neither OCIO nor OTHER")
    if request.premultipliedAlphaType not in wire.PremultipliedAlphaType.values():
        raise invalid(f"there is no premultiplied alpha type {request.premultipliedAlphaType}")
    if request.bufferType == wire.TONEMAP_BUFFER_TYPE_LDR:
        if not request.cryptomatteFalseColor:
            raise invalid("LDR buffers need cryptomatteFalseColor")
        if request.premultipliedAlphaType != wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED:
            raise invalid("LDR buffers need the premultiplied alpha type LINEARIZED")
    call.octane.controls.tonemap = Tonemap(
        request.bufferType, request.colorSpace, request.cryptomatteFalseColor, request.premultipliedAlphaType
    )


def set_passes(call: RpcCall) -> Fields:
    """Takes the passes of the next pictures; those that the render target does not have are left out of them."""
    passes = list(call.request.tonemapPasses.data)
    if not set(passes) & set(call.octane.enabled_passes):
        return result(False)
    call.octane.tonemap_passes = passes
    return result(True)


def enabled_aovs(call: RpcCall) -> Fields:
    require_node(call.request.renderTargetNode, NODES)
    return {"aovIds": wire.ApiArrayRenderPassId(data=call.octane.enabled_passes)}  # type: ignore[arg-type]


def set_shared_surface(call: RpcCall) -> None:
    """Keeps pictures on the graphics card, where no client finds them, or sends them again."""
    octane, request = call.octane, call.request
    octane.controls.shared_surface, octane.controls.real_time = request.type, request.realTime
    if request.type == wire.SHARED_SURFACE_TYPE_D3D11:
        octane.strike(OctaneFault.SHARED_SURFACE)
    else:
        octane.clear(OctaneFault.SHARED_SURFACE)


def trigger_tonemap(call: RpcCall) -> None:
    if call.octane.render.region_samples:
        call.octane.announce()


async def save_image(call: RpcCall) -> Fields:
    octane, request = call.octane, call.request
    if request.imageSaveFormat not in wire.ImageSaveFormat.values():
        raise invalid(f"there is no image format {request.imageSaveFormat}")
    if request.colorSpace not in SPACES:
        raise invalid("the colour space must be a named one, and neither OCIO nor OTHER")
    if request.renderPassId not in octane.enabled_passes:
        return result(False)
    found = await octane.darkroom.passes(octane.render, request.renderPassId)
    if found is None:
        return result(False)
    try:
        await asyncio.to_thread(save, octane.settings.save_directory, request, *found)
    except SaveRefused as fault:
        raise CallRefused(grpc.StatusCode.FAILED_PRECONDITION, str(fault)) from None
    except OSError:
        return result(False)
    return result(True)


PICTURES: dict[str, Answer] = {
    "setOnNewImageCallback": registering("newImage"),
    "setOnNewStatisticsCallback": registering("newStatistics"),
    "setOnRenderFailureCallback": registering("renderFailure"),
    "grabRenderResult": grab,
    "releaseRenderResult": release,
    "getRenderStatistics": statistics,
    "getRenderResultStatistics": statistics,
    "setAsyncTonemapParams1": set_tonemap,
    "asyncTonemapBufferType": lambda call: result(call.octane.controls.tonemap.buffer),
    "asyncTonemapCryptomatteFalseColor": lambda call: result(call.octane.controls.tonemap.cryptomatte_false_color),
    "asyncTonemapColorSpace": lambda call: result(call.octane.controls.tonemap.space),
    "asyncTonemapPremultipliedAlphaType": lambda call: result(call.octane.controls.tonemap.premultiplied),
    "triggerAsyncTonemap": trigger_tonemap,
    "setAsyncTonemapRenderPasses": set_passes,
    "getEnabledAovs": enabled_aovs,
    "displayRenderPassId": lambda call: result(call.octane.tonemapped[0]),
    "setSharedSurfaceOutputType": set_shared_surface,
    "getSharedSurfaceOutputType": lambda call: result(call.octane.controls.shared_surface),
    "getRealTime": lambda call: result(call.octane.controls.real_time),
    "saveImage1": save_image,
}
