"""Writes the event types of the catalogue as Python: a TypedDict for each."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from ops.types.shapes import ObjectType, Shape, TypedEvents, read
from router.catalogue import EventType

_KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "any": "Any"}

_HEAD = '''\
"""The events of Callboard, written by `callboard types python`. Other types of events, and other fields, are allowed."""

from typing import Any, Literal, NotRequired, Required, TypedDict, Union


class CallboardEvent(TypedDict):
    """An event as sessions are sent it, in the shape of the callback guide; `event_type` and `data` are beside it."""

    id: str
    subject: str
    source: str
    timestamp: str
    cursor: str
    key: NotRequired[str]
    cause: NotRequired[str]
    test: NotRequired[bool]
    conflated: NotRequired[int]

'''


def python(types: Iterable[EventType]) -> str:
    """A module with a TypedDict for the data of each type, one for each event, and `KnownEvent`, the union of all events."""
    objects, events = read(types)
    union = ["", "KnownEvent = Union[", *(f"    {_event_name(each)}," for each in events), "]", ""]
    return "\n".join((_HEAD, *map(_class, objects), *map(_event, events), *union))


def _class(made: ObjectType) -> str:
    fields = [
        (field.name, f"Required[{_type(field.shape)}]" if field.required else _type(field.shape))
        for field in made.fields
    ]
    if all(name.isidentifier() and not keyword.iskeyword(name) for name, _ in fields):
        lines = [f"class {made.name}(TypedDict, total=False):"]
        if made.description:
            lines += [f"    {_quoted(made.description)}", ""]
        lines += [f"    {name}: {kind}" for name, kind in fields] or ([] if made.description else ["    pass"])
        return "\n".join(["", *lines, ""])
    # A name that is no identifier can only be said so.
    inside = ", ".join(f"{name!r}: {kind}" for name, kind in fields)
    return f"\n{made.name} = TypedDict({made.name!r}, {{{inside}}}, total=False)\n"


def _quoted(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe + " " if safe.endswith(chr(34)) else safe}"""'


def _type(shape: Shape) -> str:
    literals = ", ".join(repr(literal) for literal in shape.literals)
    parts = [
        *(_KINDS[kind] for kind in shape.kinds if kind != "null"),
        *shape.names,
        *([f"Literal[{literals}]"] if literals else []),
        *(f"list[{_type(items)}]" for items in shape.items),
        *(f"dict[str, {_type(values)}]" for values in shape.values),
        *(["None"] if "null" in shape.kinds else []),
    ]
    return " | ".join(dict.fromkeys(parts)) or "Any"


def _event_name(event: TypedEvents) -> str:
    return "".join(word[:1].upper() + word[1:] for word in event.name.split("_")) + "Event"


def _event(event: TypedEvents) -> str:
    return "\n".join(
        (
            "",
            f"class {_event_name(event)}(CallboardEvent):",
            f"    event_type: Literal[{event.name!r}]",
            f"    data: {' | '.join(event.data)}",
            "",
        )
    )
