"""Names the render passes of an Octane, and tells which image of a result shows which pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from actors.octane.client import enum_name
from protos import octane_types_pb2 as wire

BEAUTY = "beauty"

_PREFIX = "RENDER_PASS_"
_NUMBERED = re.compile(r"pass-(\d{1,9})")
# 32: one track a render pass, and the ids come from outside; nobody looks at more.
MAX_TRACKS = 32
# 512: Octane knows 216 passes, and output AOVs besides; the numbers come from outside.
MAX_LISTED = 512


def track_name(render_pass: int) -> str:
    """The track of a render pass: `beauty`, `z_depth`, or `pass-501` for one without a name here."""
    name = enum_name(wire.RenderPassId, render_pass, _PREFIX)
    return f"pass-{name}" if name == str(render_pass) else name


def pass_id(track: str) -> int | None:
    """The render pass of a track; None where the name is not that of a pass."""
    if found := _NUMBERED.fullmatch(track):
        return int(found[1])
    try:
        return int(wire.RenderPassId.Value(_PREFIX + track.upper()))
    except ValueError:
        return None


def pass_names(statistics: wire.RenderResultStatistics) -> list[str]:
    """The passes of a render that can be watched, by the names of their tracks; beauty is always among them."""
    known = [*statistics.tonemapPasses.data, *statistics.renderPasses.data][:MAX_LISTED]
    return sorted({BEAUTY, *map(track_name, known)}, key=lambda name: (name != BEAUTY, name))


def passes_of(ids: Sequence[int], order: Iterable[int]) -> list[str]:
    """The track of each image of one result, no two alike.

    `ids` are the pass ids of the images. Octane's own converter sends none, so that all are 0; then the images stand in
    the `order` of the statistics' tonemapPasses. An image beyond that order gets a name by its place.
    """
    order = list(order)
    if order and not any(ids):
        ids = [order[place] if place < len(order) else 0 for place in range(len(ids))]
    tracks: list[str] = []
    for place, render_pass in enumerate(ids):
        track = track_name(render_pass)
        tracks.append(track if track not in tracks else f"image-{place + 1}")
    return tracks
