"""Fills titles such as `{entity} is at {data.progress} %` with the fields of an event.

Not `str.format`: what stands in the braces only ever looks things up in maps and lists, so that neither a rule's author
nor an event can reach an attribute, and what comes out is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

VARIABLES = frozenset(
    [
        *["id", "type", "source", "subject", "domain", "entity", "key", "cause", "test", "time", "data"],
        *["rule", "severity", "category", "count", "value"],
    ]
)
MISSING = "?"
# What one value may bring into a line that a person reads.
MAX_VALUE = 200

_PART = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<path>[A-Za-z0-9_.-]+)\}|(?P<text>[^{}]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


class BadTemplate(ValueError):
    """a template is text with {variable} or {data.field} in it; {{ and }} stand for braces"""

    def __str__(self) -> str:
        return super().__str__() or str(self.__doc__)


class TextTemplate:
    """A text with places to fill in."""

    def __init__(self, text: str, parts: tuple[str | tuple[str, ...], ...]) -> None:
        self.text = text
        self._parts = parts

    @classmethod
    def compile(cls, text: str) -> TextTemplate:
        """Takes a template as written by a person; raises BadTemplate."""
        parts: list[str | tuple[str, ...]] = []
        at = 0
        while at < len(text):
            found = _PART.match(text, at)
            if found is None:
                raise BadTemplate(f"character {at + 1}: {BadTemplate.__doc__}")
            if found["path"]:
                parts.append(_path(found["path"]))
            else:
                parts.append(found["text"] or found["brace"][0])
            at = found.end()
        return cls(text, tuple(parts))

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """What it looks up."""
        return tuple(part for part in self._parts if not isinstance(part, str))

    @property
    def start(self) -> str:
        """The fixed text that it begins with."""
        return self._parts[0] if self._parts and isinstance(self._parts[0], str) else ""

    def fill(self, scope: Mapping[str, Any], longest: int, guard: Callable[[str], str] = str) -> str:
        """Writes the text, every value through the guard; what is missing becomes a question mark."""
        said = "".join(part if isinstance(part, str) else guard(shown(lookup(scope, part))) for part in self._parts)
        return said[:longest]


def _path(text: str) -> tuple[str, ...]:
    path = tuple(text.split("."))
    if path[0] not in VARIABLES or not all(path):
        raise BadTemplate(f"unknown variable {{{text[:60]}}}; there are {', '.join(sorted(VARIABLES))}")
    if len(path) > 1 and path[0] != "data":
        raise BadTemplate(f"{{{text[:60]}}}: only data has fields")
    return path


def lookup(scope: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at a path of maps and lists; None where there is nothing."""
    found: Any = scope
    for step in path:
        if isinstance(found, Mapping):
            found = found.get(step)
        elif (
            isinstance(found, list) and step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(found)
        ):
            found = found[int(step)]
        else:
            return None
    return found


def shown(value: Any) -> str:
    """Writes a value for a person, on one line and in bounds."""
    match value:
        case None:
            return MISSING
        case bool():
            return "true" if value else "false"
        case int():
            # 64 bits and a little: an int of a million digits takes seconds to write.
            return str(value) if value.bit_length() <= 128 else MISSING
        case float():
            return f"{value:.6g}"
        case str():
            return _CONTROL.sub(" ", value[:MAX_VALUE])
        case bytes():
            return f"[{len(value)} bytes]"
        case Mapping() | list() | tuple():
            return f"[{len(value)} items]"
        case _:
            return MISSING
