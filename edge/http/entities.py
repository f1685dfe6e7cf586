"""Handlers of entities that have metrics: the whole state of each, and the place behind which its changes come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.entities import EntitiesAnswer, EntitiesQuery, EntityAnswer
from edge.http.body import edge_of, json_answer, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.entity import CHANGED, STATE, apply, names_of, token, token_of_state, version_of
from router.record import Record

DOMAIN = "metric"


@operation(
    "List the entities with metrics",
    Answer(200, "The one that changed last first", EntitiesAnswer),
    query=EntitiesQuery,
)
async def list_entities(request: Request) -> Response:
    query = read_query(request, EntitiesQuery)
    found, cursor = await _entities(request, "*", "*.*")
    if query.entity_type is not None:
        found = [entity for entity in found if entity["entity_type"] == query.entity_type]
    page = found[query.offset : query.offset + query.limit]
    return json_answer({"entities": page, "total": len(found), "cursor": cursor})


@operation(
    "Read the whole state of an entity with metrics",
    Answer(200, "The state; its changes come behind `cursor`", EntityAnswer),
    problems=("entity_not_found",),
)
async def read_entity(request: Request) -> Response:
    return await _read(request, request.path_params["entity"], None)


@operation(
    "Read the whole state of a part of an entity: of one of several campaigns, say, that share a subject",
    Answer(200, "The state; its changes come behind `cursor`", EntityAnswer),
    problems=("entity_not_found",),
)
async def read_part(request: Request) -> Response:
    return await _read(request, request.path_params["entity"], request.path_params["part"])


async def _read(request: Request, entity: str, part: str | None) -> Response:
    found, _ = await _entities(request, token(entity, part))
    if not found:
        raise Problem("entity_not_found", f"nothing is known of {'/'.join((entity, part or ''))[:60].rstrip('/')!r}")
    return json_answer(found[0])


async def _entities(request: Request, *tokens: str) -> tuple[list[dict[str, Any]], str]:
    """The states that the principal may read, as of one place in the stream, the newest first; and that place's cursor."""
    edge = edge_of(request)
    grants = principal_of(request.scope).grants
    last = (await edge.broker.events_state()).last
    cursor = await edge.hub.recovery.find_cursor(last)
    patterns = [f"{DOMAIN}.{each}.{kind}" for each in tokens for kind in (STATE, CHANGED)]
    records = await edge.broker.latest(patterns, last)
    # In the order of the newest event of each.
    parts: dict[str, dict[str, Record]] = {}
    for record in records:
        event = record.event
        if event is not None and grants.may_read(record.subject):
            of = parts.pop(named := token_of_state(event.subject), {})
            parts[named] = {**of, event.type: record}
    found = [_whole(entity, each) for entity, each in reversed(parts.items())]
    return [{**whole, "cursor": cursor} for whole in found if whole is not None], cursor


def _whole(of: str, parts: Mapping[str, Record]) -> dict[str, Any] | None:
    """An entity from its newest snapshot and its newest change; None where the snapshot is not kept any more."""
    if STATE not in parts or (event := parts[STATE].event) is None or not version_of(event.data):
        return None
    whole = event.data
    if CHANGED in parts and (changed := parts[CHANGED].event) is not None:
        whole = apply(whole, changed.data) or whole
    shown = {name: whole.get(name) for name in ("entity_type", "version", "previous_version", "updated")}
    maps = {name: whole.get(name) or {} for name in ("values", "change", "tests")}
    entity, part = names_of(of)
    return {"entity": entity, "part": part, **shown, **maps}
