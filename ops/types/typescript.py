"""Writes the event types of the catalogue as TypeScript."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ops.types.shapes import ObjectType, Shape, TypedEvents, read
from router.catalogue import EventType

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_KINDS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "any": "unknown",
}

_HEAD = """\
// The events of Callboard, written by `callboard types typescript`. Other types of events, and other fields, are allowed.

"""
_EVENT = """\
/** An event as sessions are sent it, in the shape of the callback guide. */
export interface CallboardEvent<T extends string = string, D = Record<string, unknown>> {
  id: string;
  event_type: T;
  subject: string;
  source: string;
  /** RFC 3339, UTC. */
  timestamp: string;
  data: D;
  /** The place to continue after. */
  cursor: string;
  key?: string;
  cause?: string;
  test?: boolean;
  /** How many older events this one supersedes. */
  conflated?: number;
}

"""
_TAIL = """\

export type KnownType = keyof EventData;
export type EventOf<T extends KnownType> = CallboardEvent<T, EventData[T]>;
/** One of the known events; `event_type` tells which. */
export type KnownEvent = { [T in KnownType]: EventOf<T> }[KnownType];

/** Whether an event is of a known type, so that its data are of that type's. */
export function isEvent<T extends KnownType>(event: CallboardEvent, type: T): event is EventOf<T> {
  return event.event_type === type;
}
"""


def typescript(types: Iterable[EventType]) -> str:
    """A module with an interface for the data of each type, and a union of all events."""
    objects, events = read(types)
    return _HEAD + _EVENT + "\n".join(map(_interface, objects)) + "\n" + _by_name(events) + _TAIL


def _interface(made: ObjectType) -> str:
    lines = [*_comment(made.description, ""), f"export interface {made.name} {{"]
    for field in made.fields:
        name = field.name if _IDENTIFIER.match(field.name) else json.dumps(field.name)
        lines += _comment(field.description, "  ")
        lines.append(f"  {name}{'' if field.required else '?'}: {_type(field.shape)};")
    return "\n".join([*lines, "  [field: string]: unknown;", "}", ""])


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}/** {text.replace('*/', '* /')} */"] if text else []


def _type(shape: Shape) -> str:
    parts = [
        *(_KINDS[kind] for kind in shape.kinds),
        *shape.names,
        *(json.dumps(literal) for literal in shape.literals),
        *(f"Array<{_type(items)}>" for items in shape.items),
        *(f"Record<string, {_type(values)}>" for values in shape.values),
    ]
    return " | ".join(dict.fromkeys(parts)) or "unknown"


def _by_name(events: list[TypedEvents]) -> str:
    lines = [f"  {each.name}: {' | '.join(each.data)};" for each in events]
    return "\n".join(("/** The data of each known type. */", "export interface EventData {", *lines, "}", ""))
