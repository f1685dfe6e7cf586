"""Reads JSON Schemas as shapes, from which types of a language are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from router.catalogue import EventType
from router.event_types.json_schema import parts_of, title_of

_HERE = "#/$defs/{name}"
_WORD = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Field:
    """One field of an object."""

    name: str
    shape: Shape
    required: bool
    description: str = ""


@dataclass(frozen=True)
class Shape:
    """What a value may be: one of `kinds`, of the named types, of the literals, a list, a map, or an object with fields.

    Kinds are string, integer, number, boolean, null and any.
    """

    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    literals: tuple[Any, ...] = ()
    items: tuple[Shape, ...] = ()
    values: tuple[Shape, ...] = ()

    def __or__(self, other: Shape) -> Shape:
        return Shape(
            _merged(self.kinds, other.kinds),
            _merged(self.names, other.names),
            _merged(self.literals, other.literals),
            _merged(self.items, other.items),
            _merged(self.values, other.values),
        )


ANY = Shape(("any",))


def _merged(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    # True equals 1.
    seen = {(type(each), repr(each)) for each in one}
    return (*one, *(each for each in other if (type(each), repr(each)) not in seen))


@dataclass(frozen=True)
class ObjectType:
    """A type with a name and fields."""

    name: str
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class TypedEvents:
    """The events of one name: the types of their data, one for each declaration."""

    name: str
    data: tuple[str, ...]


def read(types: Iterable[EventType]) -> tuple[list[ObjectType], list[TypedEvents]]:
    """The types of all data, parts before those that have them, and the events by name."""
    objects: dict[str, ObjectType] = {}
    events: dict[str, list[str]] = {}
    for declared in types:
        title = title_of(declared)
        schema, parts = parts_of(declared, _HERE)
        parts = {**parts, **schema.get("$defs", {})}
        own = declared.json_schema is not None
        names = {part: f"{title.removesuffix('Data')}{_word(part)}" if own else part for part in parts}
        for part, inner in parts.items():
            _add(objects, names[part], inner, names)
        _add(objects, title, schema, names)
        events.setdefault(declared.name, []).append(title)
    return _in_order(objects), [TypedEvents(name, tuple(titles)) for name, titles in sorted(events.items())]


def _in_order(objects: Mapping[str, ObjectType]) -> list[ObjectType]:
    graph = {name: [each for field in made.fields for each in _names_in(field.shape)] for name, made in objects.items()}
    return [objects[name] for name in TopologicalSorter(graph).static_order()]


def _names_in(shape: Shape) -> Iterator[str]:
    yield from shape.names
    for inner in (*shape.items, *shape.values):
        yield from _names_in(inner)


def _word(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in _WORD.split(name))


def _add(objects: dict[str, ObjectType], name: str, schema: Mapping[str, Any], names: Mapping[str, str]) -> None:
    required = frozenset(schema.get("required", ()))
    fields = tuple(
        Field(field, _shape(inner, names), field in required, _said(inner))
        for field, inner in schema.get("properties", {}).items()
    )
    objects.setdefault(name, ObjectType(name, _said(schema), fields))


def _said(schema: Any) -> str:
    return " ".join(str(schema.get("description", "")).split()) if isinstance(schema, Mapping) else ""


def _shape(schema: Any, names: Mapping[str, str]) -> Shape:
    """The shape of a value; what cannot be said in types of a language becomes `any`."""
    if not isinstance(schema, Mapping):
        return ANY
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.rpartition("/")[2]
        return Shape(names=(names[name],)) if name in names else ANY
    if "const" in schema:
        return _literal([schema["const"]])
    if isinstance(values := schema.get("enum"), list):
        return _literal(values)
    for several in ("anyOf", "oneOf"):
        if isinstance(schema.get(several), list) and "type" not in schema:
            found = Shape()
            for each in schema[several]:
                found |= _shape(each, names)
            return ANY if "any" in found.kinds else found
    kinds = schema.get("type")
    found = Shape()
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        found |= _kind(kind, schema, names)
    return ANY if "any" in found.kinds else found


def _literal(values: list[Any]) -> Shape:
    plain = tuple(each for each in values if isinstance(each, (str, int, bool)))
    null = ("null",) if any(each is None for each in values) else ()
    return Shape(null, literals=plain) if len(plain) + len(null) == len(values) else ANY


def _kind(kind: Any, schema: Mapping[str, Any], names: Mapping[str, str]) -> Shape:
    match kind:
        case "string" | "integer" | "number" | "boolean" | "null":
            return Shape((kind,))
        case "array":
            return Shape(items=(_shape(schema.get("items"), names),))
        case "object":
            return Shape(values=(_shape(schema.get("additionalProperties"), names),))
    return ANY
