"""Holds what clients have set on a simulated Octane beside its render: priority, modes, tonemapped passes, surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.octane.simulator.packing import Tonemap
from protos import octane_render_pb2 as engine
from protos import octane_types_pb2 as wire


@dataclass(slots=True)
class Controls:
    """The settings of the render engine, with what an Octane begins with."""

    tonemap: Tonemap = field(default_factory=Tonemap)
    tonemap_passes: list[int] = field(default_factory=lambda: [wire.RENDER_PASS_BEAUTY])
    priority: int = engine.ApiRenderEngine.PRIORITY_MEDIUM
    sub_sampling: int = wire.SUBSAMPLEMODE_NONE
    clay: int = wire.CLAYMODE_NONE
    fps: float = 60.0
    region: engine.ApiRenderEngine.setRenderRegionRequest = field(
        default_factory=engine.ApiRenderEngine.setRenderRegionRequest
    )
    shared_surface: int = wire.SHARED_SURFACE_TYPE_NONE
    real_time: bool = False
    image_ready: bool = False
    failed: bool = False
