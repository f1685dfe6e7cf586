"""JSON Schemas of commands' arguments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from actors.system.actor import Reject, arguments
from actors.system.schema import command_schema


class Box(msgspec.Struct):
    """A box."""

    width: int


class Shelf:
    async def store(
        self,
        sku: str,
        count: Annotated[int, Meta(ge=1)] = 1,
        place: tuple[float, float] | None = None,
        pass_: Literal["first", "second"] = "first",
    ) -> None:
        """Stores."""

    async def pack(self, box: Box) -> None:
        """Packs."""

    async def untyped(self, given=None) -> Any:  # type: ignore[no-untyped-def]
        """Takes anything."""


def test_a_schema_has_each_argument_with_its_limits_and_no_others() -> None:
    schema = command_schema(Shelf().store)

    assert schema["required"] == ["sku"] and schema["additionalProperties"] is False
    assert schema["properties"]["count"] == {"type": "integer", "minimum": 1, "default": 1}
    assert schema["properties"]["place"]["default"] is None
    assert schema["properties"]["pass"] == {"enum": ["first", "second"], "default": "first"}


def test_a_schema_carries_the_structs_it_refers_to() -> None:
    schema = command_schema(Shelf().pack)

    assert schema["properties"]["box"] == {"$ref": "#/$defs/Box"}
    assert schema["$defs"]["Box"]["properties"] == {"width": {"type": "integer"}}


def test_an_argument_without_a_type_may_be_anything() -> None:
    assert command_schema(Shelf().untyped)["properties"] == {"given": {"default": None}}


def test_a_word_of_python_is_given_without_its_underscore() -> None:
    assert arguments(Shelf().store, {"sku": "tea", "pass": "second"}) == {"sku": "tea", "pass_": "second"}
    with pytest.raises(Reject, match="unknown argument 'pass_'"):
        arguments(Shelf().store, {"sku": "tea", "pass_": "second"})


def test_a_refusal_names_what_is_allowed() -> None:
    with pytest.raises(Reject, match=r"^pass must be one of first, second, and not 'third'$"):
        arguments(Shelf().store, {"sku": "tea", "pass": "third"})
    with pytest.raises(Reject, match=r"^count must be an integer >= 1$"):
        arguments(Shelf().store, {"sku": "tea", "count": 0})
