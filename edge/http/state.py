"""Handlers of the current state: cameras, Octanes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.http.bodies.system import CamerasAnswer, OctanesAnswer
from edge.http.body import edge_of, json_answer
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.codec import rfc3339
from router.record import Record
from router.subject import Subject, escape

# What a camera or an Octane publishes about itself beside its state, of which the latest is what is the case.
_PARTS = {"camera": ("statistics", "controls"), "octane": ("statistics", "controls", "render_failure")}


async def _latest(request: Request, *patterns: str) -> list[Record]:
    """The newest events under some patterns that the principal may read."""
    grants = principal_of(request.scope).grants
    found = await edge_of(request).broker.latest(patterns)
    return [record for record in found if record.event is not None and grants.may_read(record.subject)]


@operation("List the cameras", Answer(200, "Each with its latest state", CamerasAnswer))
async def list_cameras(request: Request) -> Response:
    return json_answer({"cameras": await _entities(request, "camera")})


@operation("List the Octane renders", Answer(200, "Each with its latest state", OctanesAnswer))
async def list_octanes(request: Request) -> Response:
    return json_answer({"octanes": await _entities(request, "octane")})


async def _entities(request: Request, domain: str) -> list[dict[str, Any]]:
    """Every camera or Octane that there is, with its state and the latest of what else it says."""
    grants = principal_of(request.scope).grants
    states = await edge_of(request).presence.all(domain)
    found = {
        escape(state.id): state.described()
        for state in states
        if grants.may_read(Subject.of(domain, state.id, "state"))
    }
    gone = {escape(state.id) for state in states if state.gone}
    for record in await _latest(request, *(f"{domain}.*.{kind}" for kind in _PARTS[domain])):
        event = record.event
        assert event is not None
        shown = found.get(event.subject.entity)
        # Figures of a camera that is gone would look like those of one that streams.
        if shown is None or (domain == "camera" and event.type == "statistics" and event.subject.entity in gone):
            continue
        if event.type == "render_failure":
            shown["failure"] = {**event.data, "at": rfc3339(event.time)}
        else:
            shown[event.type] = dict(event.data)
    return sorted(found.values(), key=lambda shown: str(shown["id"]))
