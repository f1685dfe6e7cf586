"""Reads the fields of one map of a rules file, and notes each mistake with its place instead of stopping at the first."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from actors.alerts.marked import FieldPlace, MarkedMap, TextPosition, inside
from actors.alerts.template import BadTemplate, shown
from router.errors import BadFilter

T = TypeVar("T")

DAY = 86_400.0
MAX_TEXT = 2000
MAX_WORDS = 64

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_INSIDE = re.compile(r"line (\d+), column (\d+): ")


class Note(NamedTuple):
    """One mistake: the field, the reason, and where it stands."""

    field: str
    reason: str
    at: TextPosition


class Fields:
    """One map as it is read; `notes` is shared with the maps inside it."""

    def __init__(self, entry: Mapping[Any, Any], notes: list[Note], lines: list[str], prefix: str = "") -> None:
        self.entry = entry
        self.notes = notes
        self._lines = lines
        self._prefix = prefix

    def __contains__(self, field: str) -> bool:
        return field in self.entry

    def place(self, field: object) -> FieldPlace:
        """Where a field stands."""
        return (
            self.entry.place(field) if isinstance(self.entry, MarkedMap) else FieldPlace(TextPosition(), TextPosition())
        )

    def note(self, field: str, reason: str, at: TextPosition | None = None) -> None:
        """Notes a mistake at a field; where it is missing, at the map."""
        self.notes.append(Note(self._prefix + field, reason, at or self.place(field).value))

    def only(self, fields: Iterable[str]) -> None:
        """Notes fields that there are not, each with the name that may have been meant."""
        fields = tuple(fields)
        for field in self.entry:
            if field not in fields:
                self.note(shown(field), f"is not a field{meant(field, fields)}", self.place(field).name)

    def text(self, field: str, default: str | None = None, longest: int = MAX_TEXT) -> str | None:
        """A text; None where there is a mistake."""
        value = self.entry.get(field, default)
        if value is None:
            self.note(field, "is missing" if field not in self.entry else "is empty")
        elif not isinstance(value, str):
            self.note(field, "must be a text; put it in quotes")
        elif len(value) > longest:
            self.note(field, f"has {len(value)} characters; at most {longest} are taken")
        elif not value.strip() and default is None:
            self.note(field, "is empty")
        else:
            return value
        return None

    def made(self, field: str, make: Callable[[str], T], default: str | None = None) -> T | None:
        """What a text makes: an expression or a template."""
        text = self.text(field, default)
        if text is None:
            return None
        try:
            return make(text)
        except (BadFilter, BadTemplate) as fault:
            self._note_inside(field, str(fault))
            return None

    def _note_inside(self, field: str, reason: str) -> None:
        """Notes a mistake at its place in the file, if its place in the text and that of the text are known."""
        found = _INSIDE.match(reason)
        place = self.place(field)
        if found is None or not place.value.line:
            self.note(field, reason)
        else:
            at = inside(self._lines, place, int(found[1]), int(found[2]))
            self.note(field, reason if at is None else reason[found.end() :], at)

    def maybe(self, field: str, make: Callable[[str], T]) -> T | None:
        """What a text makes, where there is one."""
        return self.made(field, make) if field in self.entry else None

    def number(self, field: str, default: float | None, low: float, high: float) -> float | None:
        """A number; None where it is missing without need, or a mistake."""
        if field not in self.entry:
            return default
        value = self.entry[field]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.note(field, "must be a number")
        elif not low <= value <= high:
            self.note(field, f"must be between {low:g} and {high:g}")
        else:
            return value
        return None

    def whole(self, field: str, default: int, low: int, high: int) -> int:
        """A whole number; the default where there is a mistake."""
        found = self.number(field, default, low, high)
        if found is not None and found != int(found):
            self.note(field, "must be a whole number")
        return default if found is None else int(found)

    def seconds(self, field: str, default: float | None, low: float, high: float) -> float | None:
        """A duration: seconds, or a text such as 90s, 5m or 1h30m."""
        value = self.entry.get(field)
        if not isinstance(value, str):
            if field in self.entry and (isinstance(value, bool) or not isinstance(value, (int, float))):
                self.note(field, "must be a number of seconds, or a duration such as 30s, 5m or 2h")
                return None
            return self.number(field, default, low, high)
        if len(value) > 40 or not _DURATION.match(value):
            self.note(field, f"{value[:40]!r} is no duration; write 30s, 5m, 2h or 1h30m")
            return None
        found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
        if not low <= found <= high:
            self.note(field, f"must be between {low:g} and {high:g} seconds")
            return None
        return found

    def choice(self, field: str, choices: Iterable[str], default: str | None = None) -> str | None:
        """One of some words."""
        choices = tuple(choices)
        value = self.entry.get(field, default)
        if value in choices and isinstance(value, str):
            return value
        self.note(field, f"must be {', '.join(choices)}{meant(value, choices) if value is not None else ''}")
        return None

    def flag(self, field: str, default: bool) -> bool:
        """True or false."""
        value = self.entry.get(field, default)
        if not isinstance(value, bool):
            self.note(field, "must be true or false")
            return default
        return value

    def words(self, field: str, default: tuple[str, ...], check: Callable[[str], str]) -> tuple[str, ...]:
        """A text or a list of them; each is checked by a function that raises ValueError."""
        value = self.entry.get(field, list(default))
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or len(words) > MAX_WORDS or not all(isinstance(word, str) for word in words):
            self.note(field, f"must be a text, or a list of at most {MAX_WORDS} of them")
            return ()
        for word in words:
            try:
                check(word)
            except ValueError as fault:
                self.note(field, str(fault))
        if not words and default:
            self.note(field, "is empty")
        return tuple(words)

    def inner(self, field: str, fields: tuple[str, ...]) -> Fields | None:
        """A map inside of this one, with these fields."""
        value = self.entry.get(field)
        if not isinstance(value, dict):
            self.note(field, f"must be a map with {_listed(fields)}")
            return None
        found = self.under(value, f"{field}.")
        found.only(fields)
        return found

    def under(self, value: Mapping[Any, Any], prefix: str) -> Fields:
        """Reads another map, whose mistakes are noted with this prefix."""
        return Fields(value, self.notes, self._lines, self._prefix + prefix)


def meant(word: object, words: Iterable[str]) -> str:
    """Asks for the word that may have been meant; nothing where none is near."""
    near = difflib.get_close_matches(str(word)[:64], tuple(words), 1)
    return f"; is {near[0]} meant?" if near else ""


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
