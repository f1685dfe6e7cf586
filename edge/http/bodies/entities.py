"""Queries and answers of entities with metrics."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge.http.bodies.sessions import LimitQuery
from edge.sessions.answer import Cursor


class EntitiesQuery(LimitQuery, frozen=True, kw_only=True):
    """A page of the entities, the one that changed last first."""

    offset: Annotated[int, Meta(ge=0, le=10**9, description="Skip so many.")] = 0
    entity_type: Annotated[str | None, Meta(description="Only those of a type, such as `campaign`.")] = None


class EntityAnswer(msgspec.Struct, kw_only=True):
    """The whole state of an entity."""

    entity: str
    part: Annotated[
        str | None,
        Meta(description="The campaign or entity that the data name, where several share the subject of the entity."),
    ]
    entity_type: str | None
    version: Annotated[int, Meta(description="Apply an event `changed` whose `base` is at most this.")]
    values: Annotated[dict[str, float], Meta(description="The last number of each metric.")]
    change: Annotated[dict[str, Any], Meta(description="What the values differ by from `previous_version`.")]
    previous_version: int | None
    tests: Annotated[
        dict[str, Any],
        Meta(
            description="A/B tests by id: the figures of the variants, and the significance worked out from the counts."
        ),
    ]
    updated: str | None
    cursor: Annotated[Cursor, Meta(description="All changes after this state come behind this place.")]


class EntitiesAnswer(msgspec.Struct, kw_only=True):
    """A page of the entities as of one place in the stream."""

    entities: list[EntityAnswer]
    total: int
    cursor: Annotated[Cursor, Meta(description="All changes after these states come behind this place.")]
