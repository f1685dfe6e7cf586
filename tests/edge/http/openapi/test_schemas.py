"""Schemas are generated from Structs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from edge.http.openapi.schemas import components, parameters, requested, without_defaults


class PartBody(msgspec.Struct, forbid_unknown_fields=True):
    """A part."""

    size: Annotated[int, msgspec.Meta(ge=1)] | None = None


class WholeAnswer(msgspec.Struct):
    """A whole."""

    part: PartBody


class PartAnswer(msgspec.Struct):
    """Another part."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No field."""


class Query(msgspec.Struct):
    """A query."""

    kind: Annotated[Literal["a", "b"] | None, msgspec.Meta(description="Which.")] = None
    limit: Annotated[int, msgspec.Meta(ge=1, description="At most.")] = 5


def test_a_component_is_named_without_its_suffix_and_has_what_the_struct_says() -> None:
    (schema,), found = components([WholeAnswer])

    assert schema == {"$ref": "#/components/schemas/Whole"}
    assert found["Whole"] == {
        "description": "A whole.",
        "type": "object",
        "properties": {"part": {"$ref": "#/components/schemas/Part"}},
        "required": ["part"],
    }
    assert found["Part"]["additionalProperties"] is False
    assert found["Part"]["properties"] == {"size": {"type": ["integer", "null"], "minimum": 1}}


def test_a_map_may_have_any_fields_and_an_empty_struct_none() -> None:
    (anything, nothing), found = components([dict[str, Any], Nothing])

    assert anything == {"type": "object", "additionalProperties": True}
    assert nothing == {"$ref": "#/components/schemas/Nothing"}
    assert found["Nothing"]["additionalProperties"] is False


def test_two_structs_cannot_be_one_component() -> None:
    with pytest.raises(AssertionError):
        components([WholeAnswer, PartAnswer])


def test_a_parameter_is_left_out_where_a_body_would_have_null() -> None:
    assert parameters(Query) == [
        {"name": "kind", "in": "query", "schema": {"type": "string", "enum": ["a", "b"]}, "description": "Which."},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "default": 5},
            "description": "At most.",
        },
    ]


def test_a_request_s_defaults_are_said_in_words_at_any_depth() -> None:
    schemas = {
        "Whole": {"properties": {"part": {"$ref": "#/components/schemas/Part"}}},
        "Part": {"properties": {"rate": {"type": "number", "default": 5, "description": "A second."}, "n": {"default": None}}},
        "Answer": {"properties": {}},
    }  # fmt: skip

    assert requested([{"oneOf": [{"$ref": "#/components/schemas/Whole"}]}], schemas) == {"Whole", "Part"}
    assert without_defaults(schemas["Part"])["properties"] == {
        "rate": {"type": "number", "description": "A second. Default: 5."},
        "n": {"description": "Default: null."},
    }


class Things(msgspec.Struct):
    """Things."""

    things: list[Any]


class Wish(msgspec.Struct):
    """A wish."""

    wish: Things


def test_no_component_is_called_as_one_of_its_fields_and_an_array_says_of_what() -> None:
    _, found = components([Wish])

    assert set(found) == {"ThingsList", "WishResource"}
    assert found["WishResource"]["properties"]["wish"] == {"$ref": "#/components/schemas/ThingsList"}
    assert found["ThingsList"]["properties"]["things"] == {"type": "array", "items": {}}
