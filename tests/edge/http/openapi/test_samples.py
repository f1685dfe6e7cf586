"""A sample is a value that its schema allows."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge.http.openapi.samples import sample

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    "required": ["name"],
}  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [
        {"const": 3},
        {"enum": ["a", "b"]},
        {"type": "integer", "minimum": 5, "maximum": 7},
        {"type": "number", "exclusiveMinimum": 10},
        {"type": "number", "maximum": -2},
        {"type": ["string", "null"], "format": "date-time"},
        {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}, "minItems": 2}]},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "anyOf": [{"required": ["b"]}, {}]},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"$ref": "#/components/schemas/Tree"},
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_a_sample_is_valid(schema: dict[str, Any], full: bool) -> None:
    schemas = {"Tree": TREE}
    value = sample(schema, schemas, full=full)

    Draft202012Validator({**schema, "components": {"schemas": schemas}}).validate(value)


def test_a_full_sample_has_optional_fields_and_ends_where_a_schema_refers_to_itself() -> None:
    assert sample(TREE, {"Tree": TREE}) == {"name": "progress"}
    assert "children" in sample(TREE, {"Tree": TREE}, full=True)["children"][0]


def test_a_field_s_name_says_what_its_value_is_like() -> None:
    schema = {"type": "object", "properties": {"session_id": {"type": "string"}}, "required": ["session_id"]}

    assert sample(schema, {}) == {"session_id": "sess_0123456789abcdef"}


def test_a_format_beside_several_choices_counts() -> None:
    assert sample({"format": "date-time", "anyOf": [{"type": "string"}, {"type": "null"}]}, {}).startswith(
        "2026-11-27T"
    )
