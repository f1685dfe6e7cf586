"""What handlers of one camera share: which camera a request names, and for how long its client may watch."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.websockets import WebSocket

from edge.auth.limits import ConnectionSlot
from edge.errors import Problem
from edge.http.body import edge_of
from edge.http.credentials import address_of, principal_of
from edge.http.streams import time_left
from edge.presence import EntityState
from edge.runtime import Edge
from router.subject import escape


def readable_camera(connection: Request | WebSocket, entity: str) -> str:
    """The camera, where the principal may read all of it. Raises Problem 403."""
    principal_of(connection.scope).require_read(f"camera.{escape(entity)}.>")
    return entity


async def require_camera(edge: Edge, entity: str) -> EntityState:
    """The state of a camera. Raises Problem 404 where none is known by that name, and 503 where its actor is gone."""
    state = await edge.presence.find("camera", entity)
    if state is None:
        raise Problem("camera_not_found", f"no camera is known as {entity[:60]!r}")
    if state.gone:
        raise camera_gone(state)
    return state


def camera_gone(state: EntityState) -> Problem:
    """The problem of a camera whose actor does not live any more; it may come back."""
    detail = f"the camera is gone since {state.since}: {state.reason or 'without a reason'}"
    return Problem("camera_gone", detail, headers={"Retry-After": "5"}, since=state.since, reason=state.reason)


def open_slot(connection: Request | WebSocket) -> ConnectionSlot:
    """Counts a connection that receives pictures. Raises Problem 429."""
    edge = edge_of(connection)
    return edge.authenticator.limits.open(address_of(connection), principal_of(connection.scope))


def seconds_left(connection: Request | WebSocket) -> float | None:
    """Seconds for which the viewer's token is still valid; None without an end."""
    left = time_left(connection)
    return None if math.isinf(left) else left
