"""Writes the JSON Schema (2020-12) of the data of an event type."""

from __future__ import annotations

from typing import Any

import msgspec

from router.event_types.declaration import EventType
from router.event_types.fields import SHARES, Shares

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_HERE = "#/$defs/{name}"


def title_of(declared: EventType) -> str:
    """A name of the data that no other type has: `CameraStateData`, `JobProgressData`."""
    words = "_".join((*([declared.domain] if declared.domain else []), declared.name)).split("_")
    return "".join(word[:1].upper() + word[1:] for word in words) + "Data"


def data_schema(declared: EventType) -> dict[str, Any]:
    """The schema of a type's data as a document of its own, with `$schema`, and examples where a document has one."""
    schema, parts = parts_of(declared, _HERE)
    return {"$schema": DIALECT, "title": title_of(declared), **schema, **({"$defs": parts} if parts else {})}


def parts_of(declared: EventType, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema, and those of its parts by name, which it refers to by `template` with `{name}`.

    A user's own schema is whole: its references go to its own `$defs`.
    """
    description = {"description": declared.summary} if declared.summary else {}
    if declared.schema is None or declared.json_schema is not None:
        own = dict(declared.json_schema or {"type": "object"})
        own.pop("$schema", None)
        if declared.progress and own.get("additionalProperties", True) is True:
            _, found = msgspec.json.schema_components([Shares], ref_template=template)
            shares = _tidy(found[Shares.__name__])["properties"]
            own = {**SHARES, **own, "properties": {**shares, **own.get("properties", {})}}
        return {**description, **own}, {}
    _, found = msgspec.json.schema_components([declared.schema], ref_template=template)
    parts = {name: _tidy(part) for name, part in found.items()}
    schema = {**parts.pop(declared.schema.__name__), **declared.conditions}
    if declared.either:
        schema["anyOf"] = [
            {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in declared.either
        ]
    if declared.example is not None:
        schema["examples"] = [dict(declared.example)]
    return {**schema, **description}, parts


def _tidy(schema: Any) -> Any:
    """Leaves out titles, empty lists of required fields, and the default null of what may be null."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            made[name] = {field: _tidy(each) for field, each in value.items()}
        elif name == "title" or (name == "required" and not value) or (name == "default" and value is None):
            continue
        else:
            made[name] = value if name in ("default", "examples", "enum", "const") else _tidy(value)
    return made
