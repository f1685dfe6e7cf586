"""Tests what is read from JSON Schemas."""

from __future__ import annotations

from ops.types.shapes import ANY, Shape, read
from router.catalogue import EventType

ORDER = EventType(
    "placed",
    "An order.",
    "orders",
    json_schema={
        "type": "object",
        "required": ["lines"],
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "state": {"enum": ["new", 7, None]},
            "note": {"type": ["string", "null"], "description": "For\n the kitchen."},
            "total": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            "more": {"not": {}},
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": {"line": {"type": "object", "properties": {"sku": {"const": "tea"}}}},
    },
)


def test_a_user_s_own_schema_becomes_an_object_with_its_parts() -> None:
    (line, order), (events,) = read([ORDER])

    assert (line.name, order.name, events.data) == ("OrdersPlacedLine", "OrdersPlacedData", ("OrdersPlacedData",))
    assert {field.name: field.shape for field in order.fields} == {
        "lines": Shape(items=(Shape(names=("OrdersPlacedLine",)),)),
        "state": Shape(("null",), literals=("new", 7)),
        "note": Shape(("string", "null")),
        "total": Shape(("integer", "number")),
        "more": ANY,
        "tags": Shape(values=(Shape(("string",)),)),
    }
    assert [field.required for field in order.fields] == [True, False, False, False, False, False]
    assert order.fields[2].description == "For the kitchen."


def test_types_of_one_name_are_one_kind_of_events() -> None:
    _, (events,) = read([EventType("state", "A."), EventType("state", "B.", "orders")])
    assert events.data == ("StateData", "OrdersStateData")
