"""Generates JSON Schemas from the Structs of bodies, queries and answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
_TEMPLATE = "#/components/schemas/{name}"


def components(types: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The schema of each type, and the components that they refer to.

    A component is named like its Struct, without the suffix that tells it from the class of the same name that the edge
    works with: `SessionAnswer` is `Session`.
    """
    schemas, found = msgspec.json.schema_components(list(types), ref_template=_TEMPLATE)
    names = {name: _named(name, schema) for name, schema in found.items()}
    named = {names[name]: _tidy(schema, names) for name, schema in found.items()}
    assert len(named) == len(found), "two Structs would be one component"
    return [_tidy(schema, names) for schema in schemas], named


def parameters(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """The parameters of a query; where a body may have null, a query leaves the parameter out."""
    (_, found) = msgspec.json.schema_components([query], ref_template=_TEMPLATE)
    names = {name: _named(name, schema) for name, schema in found.items()}
    made = []
    for name, schema in found[query.__name__]["properties"].items():
        schema = _tidy(schema, names)
        description = schema.pop("description", "")
        if "anyOf" in schema:
            (given,) = [each for each in schema.pop("anyOf") if each != {"type": "null"}]
            schema = given | schema
        description = schema.pop("description", description)
        if isinstance(kinds := schema.get("type"), list) and "null" in kinds:
            schema["type"] = next(kind for kind in kinds if kind != "null")
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
        required = {"required": True} if name in found[query.__name__].get("required", ()) else {}
        made.append({"name": name, "in": "query", **required, "schema": schema, "description": description})
    return made


def _named(name: str, schema: Mapping[str, Any]) -> str:
    """The component of a Struct: `SessionsList` where it would be called as one of its fields.

    The Python client that is generated of `Sessions` with a field `sessions` has one variable for both.
    """
    short = name.removesuffix("Answer").removesuffix("Body")
    same = schema.get("properties", {}).get(short.lower())
    if same is None or same.get("type") in ("string", "integer"):
        return short
    return short + ("List" if same.get("type") == "array" else "Resource")


def _tidy(schema: Any, names: Mapping[str, str]) -> Any:
    """Renames references, and leaves out titles, empty lists of required fields and the default null of what may be null."""
    if isinstance(schema, list):
        return [_tidy(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            made[name] = {field: _tidy(each, names) for field, each in value.items()}
        elif name == "$ref":
            made[name] = _TEMPLATE.format(name=names[value.rpartition("/")[2]])
        elif name == "title" or (name == "required" and not value) or (name == "default" and value is None):
            continue
        else:
            made[name] = value if name in ("default", "examples", "enum") else _tidy(value, names)
    if made.get("type") == "object" and "properties" not in made:
        # Without this the generator of TypeScript's types takes a map of anything for an empty object.
        made.setdefault("additionalProperties", True)
    if made.get("type") == "array" and "prefixItems" not in made:
        # A generator of Python refuses an array that does not say of what.
        made.setdefault("items", {})
    if "enum" in made:
        made.setdefault("type", _type_of(made["enum"]))
    return _or_null(made)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Says in `type` that one type or null is allowed: Scalar warns of the same as an `anyOf`."""
    others = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(others) != 1 or len(schema["anyOf"]) != 2 or not isinstance(others[0].get("type"), str):
        return schema
    outer = {name: value for name, value in schema.items() if name != "anyOf"}
    made = {**others[0], **outer, "type": [others[0]["type"], "null"]}
    return {**made, "enum": [*made["enum"], None]} if "enum" in made else made


def _type_of(values: Iterable[Any]) -> str | list[str]:
    """The JSON type of the values of an enumeration; without it, Scalar warns of the schema."""
    kinds = sorted({_JSON_TYPES[type(value)] for value in values})
    return kinds[0] if len(kinds) == 1 else kinds


def requested(bodies: Iterable[Any], schemas: Mapping[str, Any]) -> set[str]:
    """The names of the components that requests have, at any depth."""
    found: set[str] = set()
    new = {name for body in bodies for name in _referred(body)}
    while new:
        found |= new
        new = {each for name in new for each in _referred(schemas[name])} - found
    return found


def _referred(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _referred(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for each in schema.values():
            yield from _referred(each)


def without_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A request's schema with defaults said in words: generators of TypeScript take a field with a default for a required one."""
    made = dict(schema)
    made["properties"] = {name: _said(field) for name, field in schema.get("properties", {}).items()}
    return made


def _said(field: Mapping[str, Any]) -> dict[str, Any]:
    if "default" not in field:
        return dict(field)
    kept = {name: value for name, value in field.items() if name != "default"}
    said = f"Default: {json.dumps(field['default'])}."
    return kept | {"description": f"{kept['description']} {said}" if kept.get("description") else said}
