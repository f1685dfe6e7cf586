"""The table of surfaces: each protocol's rows, and the routes and accesses that they make."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute

from edge.auth.authenticator import Access
from edge.surfaces import ag_ui, agent_run, ai_sdk, channels, geminivideo
from edge.surfaces.serving import serve
from edge.surfaces.surface import Surface

SURFACES: tuple[Surface, ...] = (*agent_run.ROWS, *ai_sdk.ROWS, *ag_ui.ROWS, *geminivideo.ROWS, *channels.ROWS)

ACCESS: Mapping[str, Access] = {surface.path: surface.access for surface in SURFACES}


def routes() -> list[BaseRoute]:
    """The routes of all rows, made anew: each application wraps its own."""
    return [surface.route(serve) for surface in SURFACES]
