"""Makes the simulator's render passes out of its traced scene: what each shows beside the beauty pass."""

from __future__ import annotations

import numpy as np

from actors.octane.simulator.scene import FLOOR, Floats, Hits, Viewpoint, albedo, first_hits, open_sky
from protos import octane_types_pb2 as wire

# A pass of the user's own, of which this house's enums know only the number.
CUSTOM_1 = 501

# In the order in which `passes` of the settings counts them.
PASSES: tuple[int, ...] = (
    wire.RENDER_PASS_BEAUTY,
    wire.RENDER_PASS_Z_DEPTH,
    wire.RENDER_PASS_SHADING_NORMAL,
    wire.RENDER_PASS_OBJECT_ID,
    wire.RENDER_PASS_DIFFUSE_FILTER,
    wire.RENDER_PASS_AMBIENT_OCCLUSION,
    wire.RENDER_PASS_POSITION,
    CUSTOM_1,
)
NAMES = {
    wire.RENDER_PASS_BEAUTY: ("Beauty", "Beauty"),
    wire.RENDER_PASS_Z_DEPTH: ("Z-depth", "ZDepth"),
    wire.RENDER_PASS_SHADING_NORMAL: ("Normal (shading)", "ShN"),
    wire.RENDER_PASS_OBJECT_ID: ("Object ID", "ObjId"),
    wire.RENDER_PASS_DIFFUSE_FILTER: ("Diffuse filter", "DifFil"),
    wire.RENDER_PASS_AMBIENT_OCCLUSION: ("Ambient occlusion", "AO"),
    wire.RENDER_PASS_POSITION: ("Position", "Pos"),
    CUSTOM_1: ("Custom AOV 1", "Custom1"),
}
_DEEPEST = 20.0


class GeometryBuffer:
    """What lies behind each pixel of one view, and what the passes show of it."""

    def __init__(self, view: Viewpoint, width: int, height: int) -> None:
        self.width, self.height = width, height
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self.hits: Hits = first_hits(view, columns + 0.5, rows + 0.5, width, height)
        cover = np.zeros(width * height, np.float32)
        for dx in (0.25, 0.75):
            for dy in (0.25, 0.75):
                which = first_hits(view, columns + np.float32(dx), rows + np.float32(dy), width, height).which
                cover += np.float32(0.25) * (which >= 0)
        self.alpha: Floats = cover.reshape(height, width, 1)

    def show(self, render_pass: int, beauty: Floats) -> Floats:
        """The light of a pass, (height, width, 3), in an array of its own."""
        if render_pass == wire.RENDER_PASS_BEAUTY:
            return beauty
        if render_pass == CUSTOM_1:
            return beauty * np.array([1.0, 0.35, 0.1], np.float32)
        shown = np.broadcast_to(self._of_surface(render_pass), (len(self.hits.which), 3)).astype(np.float32)
        shown[self.hits.which < 0] = 0
        return shown.reshape(self.height, self.width, 3)

    def _of_surface(self, render_pass: int) -> Floats:
        hits = self.hits
        if render_pass == wire.RENDER_PASS_Z_DEPTH:
            near: Floats = np.clip(1 - hits.distance / np.float32(_DEEPEST), 0, 1)[:, None]
            return near
        if render_pass == wire.RENDER_PASS_SHADING_NORMAL:
            return hits.normals * np.float32(0.5) + np.float32(0.5)
        if render_pass == wire.RENDER_PASS_POSITION:
            place: Floats = np.clip(hits.points / np.float32(10) + np.float32(0.5), 0, 1)
            return place
        if render_pass == wire.RENDER_PASS_AMBIENT_OCCLUSION:
            return open_sky(hits)[:, None]
        shown = np.zeros((len(hits.which), 3), np.float32)
        for index in range(FLOOR + 1):
            mine = hits.which == index
            if render_pass == wire.RENDER_PASS_OBJECT_ID:
                shown[mine] = ((index * 37 % 11) / 10, (index * 53 % 7) / 6, (index + 1) / (FLOOR + 1))
            else:
                shown[mine] = albedo(index, hits.points[mine])
        return shown
