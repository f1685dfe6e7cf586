"""Tests that a compiled schema accepts what the schema accepts, and that nothing of a schema is passed over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router.errors import BadData
from router.event_types.compiled import Compiler
from router.event_types.declaration import EventType

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["sku", "from"],
    "properties": {
        "sku": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[a-z]+$"},
        "from": {"enum": ["web", "shop", 7, None]},
        "qty": {"type": "integer", "minimum": 1, "exclusiveMaximum": 100},
        "price": {"type": ["number", "null"], "exclusiveMinimum": 0, "description": "In euro."},
        "gift": {"type": "boolean"},
        "lines": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/line"}},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
        "note": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "kind": {"const": "order"},
        "more": {},
    },
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"a-b": {"type": "integer"}},
            "required": ["a-b"],
            "additionalProperties": False,
        }
    },
}


def compiled(schema: dict[str, Any]) -> tuple[EventType | None, dict[str, str]]:
    mistakes: dict[str, str] = {}
    struct = Compiler("placed", schema, mistakes.__setitem__).compile()
    return (EventType("placed", schema=struct) if struct is not None else None), mistakes


def accepts(declared: EventType, data: dict[str, Any]) -> bool:
    try:
        declared.check(data)
    except BadData:
        return False
    return True


_VALUES = st.sampled_from(
    [
        "a", "tea", "Tea", "teateateatea", "web", "order", 0, 1, 7, 99, 100, -1, 1.5, True, None, [], {},
        [{"a-b": 1}], [{"a-b": "x"}], [{"a-b": 1, "c": 2}], [{}], [1, 2, 3], {"x": "y"}, {"x": 1}, {"x": "y", "z": "w"},
    ]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*ORDER["properties"], "unknown"]), _VALUES, max_size=6))
def test_a_compiled_schema_accepts_exactly_what_the_schema_does(more: dict[str, Any]) -> None:
    declared, mistakes = compiled(ORDER)
    assert declared is not None and not mistakes
    data = {"sku": "tea", "from": "web", **more}
    assert accepts(declared, data) == Draft202012Validator(ORDER).is_valid(data)


def test_a_fault_is_told_by_the_name_of_the_property() -> None:
    declared, _ = compiled(ORDER)
    assert declared is not None
    with pytest.raises(BadData) as fault:
        declared.check({"sku": "tea", "from": "web", "lines": [{"a-b": "x"}]})
    assert fault.value.field == "lines[0].a-b"
    with pytest.raises(BadData) as fault:
        declared.check({"sku": "tea"})
    assert (fault.value.field, fault.value.reason) == ("from", "it is missing")


@pytest.mark.parametrize(
    ("schema", "place", "reason"),
    [
        ({"type": "array"}, "type", "the data of an event are an object"),
        ({"if": {}}, "if", "`if` is not supported"),
        ({"properties": {"a": {"minimum": 1}}}, "properties.a", "say its `type`"),
        ({"properties": {"a": {"type": "string", "minimum": 1}}}, "properties.a.minimum", "`minimum` is not supported"),
        ({"properties": {"a": {"type": "text"}}}, "properties.a.type", "'text' is no type"),
        ({"properties": {"a": {"type": "integer", "minimum": "x"}}}, "properties.a", "`ge`"),
        ({"properties": {"a": {"type": "string", "pattern": "("}}}, "properties.a", "no regular expression"),
        ({"properties": {"a": {"type": "string", "minLength": 3, "maxLength": 2}}}, "properties.a", "nothing is within"),
        ({"properties": {"a": {"type": "number", "minimum": 2, "exclusiveMaximum": 2}}}, "properties.a", "nothing is within"),
        ({"properties": {"a": {"enum": [1.5]}}}, "properties.a.enum", "only texts"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "properties.a.$ref", "only #/$defs/"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}}, "properties.a", "refers to itself"),
        ({"properties": {"a": 7}}, "properties.a", "it must be an object"),
        ({"properties": [], "type": "object"}, "", "`properties` must be an object"),
        ({"required": ["a"]}, "required", "'a' is not among the properties"),
        ({"properties": {"a": {"anyOf": [{"type": "object", "properties": {}}, {"type": "object"}]}}}, "", "more than one"),
    ],
)  # fmt: skip
def test_what_nobody_would_check_is_a_mistake(schema: dict[str, Any], place: str, reason: str) -> None:
    declared, mistakes = compiled(schema)
    assert declared is None
    assert reason in mistakes[place], mistakes
