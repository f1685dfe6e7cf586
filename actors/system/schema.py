"""Describes a command's arguments as JSON Schema, made of the method's signature."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

import msgspec

from actors.system.actor import argument_name


def command_schema(method: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
    """The JSON Schema of the object that a command takes as its arguments; no other members are allowed."""
    hints = get_type_hints(method, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(method).parameters.items():
        kind = hints.get(name, Any)
        required = parameter.default is inspect.Parameter.empty
        fields.append((name, kind) if required else (name, kind, parameter.default))
    arguments = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True, rename=argument_name)
    (_,), components = msgspec.json.schema_components([arguments])
    schema: dict[str, Any] = components.pop("Arguments")
    schema.pop("title", None)
    if components:
        schema["$defs"] = components
    return schema
