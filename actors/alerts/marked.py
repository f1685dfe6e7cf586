"""Reads YAML and keeps where each field stands, so that a mistake can be told with its line and column."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from router.yaml_keys import TextKeyLoader


class TextPosition(NamedTuple):
    """Where something stands in a text: line and column from 1; both 0 where nobody knows."""

    line: int = 0
    column: int = 0


NOWHERE = TextPosition()


class FieldPlace(NamedTuple):
    """Where a field stands: its name, its value, and how the value is written (the YAML style of a text)."""

    name: TextPosition
    value: TextPosition
    style: str | None = None


class MarkedMap(dict[Any, Any]):
    """A map that knows where it and its fields stand."""

    position: TextPosition = NOWHERE
    places: dict[Any, FieldPlace] = {}

    def place(self, field: object) -> FieldPlace:
        """Where a field stands; where the map stands, if it has no such field."""
        return self.places.get(field) or FieldPlace(self.position, self.position)


class BadYaml(ValueError):
    """a text is not YAML"""

    def __init__(self, reason: str, position: TextPosition = NOWHERE) -> None:
        super().__init__(reason)
        self.position = position


class _Strict(TextKeyLoader):
    """Reads YAML, and takes a field written twice for the mistake that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is written twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_marked(self, node: yaml.MappingNode) -> Any:
        made = MarkedMap()
        made.position = _position(node.start_mark)
        yield made
        made.update(self.construct_mapping(node))
        made.places = {
            key.value: FieldPlace(_position(key.start_mark), _position(value.start_mark), getattr(value, "style", None))
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode)
        }


_Strict.add_constructor("tag:yaml.org,2002:map", _Strict.construct_marked)


def load(raw: bytes | str) -> Any:
    """Reads a document; its maps are MarkedMaps. Raises BadYaml."""
    try:
        return yaml.load(raw, Loader=_Strict)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        reason = ", ".join(part for part in (fault.context, fault.problem) if part)
        raise BadYaml(" ".join(reason.split())[:200], _position(mark) if mark else NOWHERE) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, TypeError) as fault:
        raise BadYaml(" ".join(str(fault).split())[:200]) from None


def _position(mark: Any) -> TextPosition:
    return TextPosition(mark.line + 1, mark.column + 1)


def plain(value: Any) -> Any:
    """The same without places, as plain dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def inside(lines: list[str], place: FieldPlace, line: int, column: int) -> TextPosition | None:
    """Where a line and column of a text value (from 1) stand in the file that has these lines; None where that is unclear."""
    start = place.value
    if not start.line or start.line > len(lines):
        return None
    if place.style == "|":
        # The text begins below, and is indented as its first line that is not blank.
        below = lines[start.line :]
        indent = next((len(each) - len(each.lstrip()) for each in below if each.strip()), 0)
        return TextPosition(start.line + line, indent + column)
    if place.style == ">" or line > 1:
        return None
    text = lines[start.line - 1]
    at = start.column - 1 + (place.style in ("'", '"'))
    for _ in range(column - 1):
        # A quote written twice, and what is behind a backslash, are one character of the value.
        at += (
            2
            if (place.style == "'" and text[at : at + 2] == "''") or (place.style == '"' and text[at : at + 1] == "\\")
            else 1
        )
    return TextPosition(start.line, at + 1)
