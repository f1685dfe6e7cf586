"""Reports the statistics of a simulated render."""

from __future__ import annotations

from actors.octane.simulator.darkroom import speed
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import Simulator
from protos import octane_types_pb2 as wire


def statistics_of(octane: Simulator) -> wire.RenderResultStatistics:
    """What getRenderStatistics answers."""
    size = wire.uint32_2(x=octane.settings.width, y=octane.settings.height)
    render, controls, tonemap = octane.render, octane.controls, octane.controls.tonemap
    return wire.RenderResultStatistics(
        setSize=size,
        usedSize=size,
        subSampleMode=wire.SubSampleMode.Name(controls.sub_sampling),
        upSamplingRatio=1.0,
        bufferType=wire.TonemapBufferType.Name(tonemap.buffer),
        colorSpace=wire.NamedColorSpace.Name(tonemap.space),
        isLinear=tonemap.space != wire.NAMED_COLOR_SPACE_SRGB,
        hasAlpha=octane.settings.alpha,
        premultipliedAlphaType=wire.PremultipliedAlphaType.Name(tonemap.premultiplied),
        changeLevel=wire.CLevelT(value=render.change_level),
        hasPendingUpdates=OctaneFault.PENDING in octane.faults,
        tonemapPassesCount=len(octane.tonemapped),
        tonemapPasses=wire.ApiArrayRenderPassId(data=octane.tonemapped),  # type: ignore[arg-type]
        passesCount=len(octane.enabled_passes),
        renderPasses=wire.ApiArrayRenderPassId(data=octane.enabled_passes),  # type: ignore[arg-type]
        beautyWipeCount=render.wipes,
        beautySamplesPerPixel=render.samples,
        beautyMaxSamplesPerPixel=render.max_samples,
        beautySamplesPerSecond=speed(render, octane.settings),
        regionSamplesPerPixel=render.region_samples,
        state=wire.RenderState.Name(render.state),
        renderTime=render.seconds,
        estimatedRenderTime=render.max_samples / render.samples_per_second,
    )
