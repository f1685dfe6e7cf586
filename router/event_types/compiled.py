"""Compiles JSON Schemas of a user's own event types to Structs, by which msgspec checks data in a fraction of a microsecond.

Of JSON Schema 2020-12 those keywords are taken that msgspec can check; another one is a mistake that is told at start. It would
be worse to pass it over: the schema would promise what nobody checks. (ADR 0036)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType

# Deeper than any data that a person describes.
MAX_DEPTH = 16

# What says nothing about whether data are valid.
_NOTES = frozenset(
    {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "format", "deprecated"}
)
_NUMBERS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_TEXTS = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_LISTS = {"minItems": "min_length", "maxItems": "max_length"}
_MAPS = {"minProperties": "min_length", "maxProperties": "max_length"}
# Limits from below and from above, and whether they must not be equal.
_RANGES = (
    ("minimum", "maximum", False),
    ("minimum", "exclusiveMaximum", True),
    ("exclusiveMinimum", "maximum", True),
    ("exclusiveMinimum", "exclusiveMaximum", True),
    ("minLength", "maxLength", False),
    ("minItems", "maxItems", False),
    ("minProperties", "maxProperties", False),
)
_SCALARS: Mapping[str, tuple[type | None, Mapping[str, str]]] = {
    "string": (str, _TEXTS),
    "integer": (int, _NUMBERS),
    "number": (float, _NUMBERS),
    "boolean": (bool, {}),
    "null": (None, {}),
}
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})


class _Mistake(Exception):
    """One part of a schema cannot be compiled; told already."""


class Compiler:
    """Compiles one schema; `tell(place, reason)` is called for each mistake."""

    def __init__(self, name: str, schema: Mapping[str, Any], tell: Callable[[str, str], None]) -> None:
        self._name = name
        self._schema = schema
        self._tell = tell
        self._made = 0
        self._told = False

    def compile(self) -> type[msgspec.Struct] | None:
        """The Struct of the data; None where there are mistakes."""
        if self._schema.get("type", "object") != "object":
            self._mistake("type", "the data of an event are an object")
            return None
        made = self._struct({"properties": {}, **self._schema, "type": "object"}, "", 0)
        if self._told:
            return None
        try:
            msgspec.json.Decoder(made)
        except (TypeError, ValueError) as fault:
            self._mistake("", str(fault).replace("\n", " "))
            return None
        struct: type[msgspec.Struct] = made
        return struct

    def _mistake(self, place: str, reason: str) -> None:
        self._told = True
        self._tell(place.removeprefix("."), reason)

    def _kind(self, schema: Any, place: str, depth: int) -> Any:
        """The type of a value; Any after a mistake, so that the next ones are found too."""
        if schema is True or schema == {}:
            return Any
        if not isinstance(schema, Mapping):
            self._mistake(place, "it must be an object or true")
            return Any
        if depth > MAX_DEPTH:
            self._mistake(place, f"nested deeper than {MAX_DEPTH} levels, or it refers to itself")
            return Any
        if "$ref" in schema:
            return self._reference(schema, place, depth)
        for word in ("enum", "const"):
            if word in schema:
                return self._literal(schema, word, place)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self._several(schema, word, place, depth)
        kinds = schema.get("type")
        if kinds is None:
            if _strangers(schema, frozenset()):
                self._mistake(place, "say its `type`")
            return Any
        several = kinds if isinstance(kinds, list) else [kinds]
        taken: set[str] = {"type"}
        found = [self._of(kind, schema, place, depth, taken) for kind in several]
        for word in _strangers(schema, taken):
            self._mistake(f"{place}.{word}", f"`{word}` is not supported beside the type {kinds}")
        return _union(found)

    def _of(self, kind: Any, schema: Mapping[str, Any], place: str, depth: int, taken: set[str]) -> Any:
        if kind in _SCALARS:
            base, words = _SCALARS[kind]
            taken.update(words)
            return self._with(base, schema, words, place)
        if kind == "array":
            taken.update(_LISTS, {"items"})
            items: Any = self._kind(schema.get("items", True), f"{place}.items", depth + 1)
            return self._with(list[items], schema, _LISTS, place)
        if kind == "object":
            taken.update(_OF_OBJECTS)
            if "properties" in schema:
                return self._struct(schema, place, depth)
            taken.update(_MAPS)
            values = self._kind(schema.get("additionalProperties", True), f"{place}.additionalProperties", depth + 1)
            if schema.get("required"):
                self._mistake(f"{place}.required", "it needs `properties`")
            return self._with(dict[Any, values] if values is Any else dict[str, values], schema, _MAPS, place)  # type: ignore[valid-type]
        self._mistake(f"{place}.type", f"{str(kind)[:40]!r} is no type")
        return Any

    def _with(self, base: Any, schema: Mapping[str, Any], words: Mapping[str, str], place: str) -> Any:
        limits = {meta: schema[word] for word, meta in words.items() if word in schema}
        if not limits or base is None:
            return base
        if (reason := _impossible(schema, words)) is not None:
            self._mistake(place, reason)
            return Any
        try:
            return Annotated[base, Meta(**limits)]
        except (TypeError, ValueError) as fault:
            self._mistake(place, str(fault))
            return Any

    def _struct(self, schema: Mapping[str, Any], place: str, depth: int) -> Any:
        """A Struct with the properties; names that are no identifiers are those of the encoded fields."""
        properties, required = schema["properties"], schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            self._mistake(place, "`properties` must be an object and `required` a list")
            return Any
        for name in required:
            if name not in properties:
                self._mistake(f"{place}.required", f"{str(name)[:60]!r} is not among the properties")
        others = schema.get("additionalProperties", True)
        if not isinstance(others, bool):
            self._mistake(f"{place}.additionalProperties", "beside `properties` it must be true or false")
        for word in _strangers(schema, {"type", *_OF_OBJECTS}):
            if not place:
                self._mistake(f"{place}.{word}", f"`{word}` is not supported")
        fields: list[Any] = []
        rename: dict[str, str] = {}
        for number, (name, inner) in enumerate(properties.items()):
            kind = self._kind(inner, f"{place}.properties.{name}", depth + 1)
            rename[f"f{number}"] = str(name)
            fields.append((f"f{number}", kind) if name in required else (f"f{number}", Union[kind, UnsetType], UNSET))  # noqa: UP007
        self._made += 1
        return msgspec.defstruct(
            f"{self._name}{self._made}",
            fields,
            kw_only=True,
            gc=False,
            rename=rename.__getitem__,
            forbid_unknown_fields=others is False,
        )

    def _reference(self, schema: Mapping[str, Any], place: str, depth: int) -> Any:
        reference = schema["$ref"]
        parts = self._schema.get("$defs", {})
        name = reference.removeprefix("#/$defs/") if isinstance(reference, str) else None
        if name not in parts or reference == name:
            self._mistake(f"{place}.$ref", "only #/$defs/… of the same schema can be referred to")
            return Any
        for word in _strangers(schema, {"$ref"}):
            self._mistake(f"{place}.{word}", f"`{word}` is not supported beside `$ref`")
        return self._kind(parts[name], f"$defs.{name}" if depth == 0 else place, depth + 1)

    def _literal(self, schema: Mapping[str, Any], word: str, place: str) -> Any:
        values = schema[word] if word == "enum" else [schema[word]]
        for other in _strangers(schema, {word, "type"}):
            self._mistake(f"{place}.{other}", f"`{other}` is not supported beside `{word}`")
        plain = isinstance(values, list) and values
        if not plain or not all(
            each is None or (isinstance(each, (str, int)) and not isinstance(each, bool)) for each in values
        ):
            self._mistake(f"{place}.{word}", "only texts, whole numbers and null can be listed")
            return Any
        return Literal[tuple(values)]

    def _several(self, schema: Mapping[str, Any], word: str, place: str, depth: int) -> Any:
        for other in _strangers(schema, {word}):
            self._mistake(f"{place}.{other}", f"`{other}` is not supported beside `{word}`")
        each = schema[word]
        if not isinstance(each, list) or not each:
            self._mistake(f"{place}.{word}", "it must be a list")
            return Any
        return _union([self._kind(inner, f"{place}.{word}[{at}]", depth + 1) for at, inner in enumerate(each)])


def _impossible(schema: Mapping[str, Any], words: Mapping[str, str]) -> str | None:
    """Why no value can be within the limits that a schema sets; None where one can, or a limit is of no valid type."""
    if "pattern" in words and isinstance(pattern := schema.get("pattern"), str):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as fault:
            return f"`pattern` is no regular expression: {fault}"
    for least, most, strict in _RANGES:
        if least not in words or least not in schema or most not in schema:
            continue
        low, high = schema[least], schema[most]
        if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in (low, high)):
            continue
        if low > high or (strict and low == high):
            return f"nothing is within `{least}` {low} and `{most}` {high}"
    return None


def _union(kinds: list[Any]) -> Any:
    return Any if any(kind is Any for kind in kinds) else Union[tuple(kinds)]  # noqa: UP007


def _strangers(schema: Mapping[str, Any], known: set[str] | frozenset[str]) -> list[str]:
    return [str(word) for word in schema if word not in known and word not in _NOTES]
