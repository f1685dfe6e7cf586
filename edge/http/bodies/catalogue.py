"""Answers of the catalogue of event types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class SchemaQuery(msgspec.Struct, frozen=True):
    """Which of the types of a name."""

    domain: Annotated[
        str | None, Meta(description="Where a domain has a type of its own by this name, such as `camera` for `state`.")
    ] = None


class EventTypeAnswer(msgspec.Struct, kw_only=True):
    """What is declared of an event type."""

    name: str
    domain: Annotated[str | None, Meta(description="Null: in every domain that declares none of this name.")]
    summary: str
    delivery: Annotated[
        Literal["log", "latest", "append", "ephemeral"],
        Meta(description="What may become of an event when a reader is slower than its source and agreed to that."),
    ]
    key: Annotated[list[str], Meta(description="Fields that, with the subject, make the conflation key.")]
    text: Annotated[str | None, Meta(description="The field that is joined, and added to the text of a run.")]
    intermediate: Annotated[bool, Meta(description="Left out for sessions that ask for no intermediate results.")]
    progress: bool
    terminal: Annotated[bool, Meta(description="Whether an event of the type may end a run.")]
    reduce: Annotated[
        dict[str, Literal["sum", "last", "max", "concat"]],
        Meta(description="Per field, how a window of events is merged."),
    ]
    data: Annotated[dict[str, Any], Meta(description="The JSON Schema of the data.")]


class EventTypesAnswer(msgspec.Struct):
    """All types that are known; any other is allowed, with any data."""

    types: list[EventTypeAnswer]
