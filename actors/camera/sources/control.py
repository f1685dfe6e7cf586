"""Describes one control of a camera source: its kind, its value, what it takes; and checks a value from outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

ControlKind = Literal["number", "switch", "choice", "button", "region", "size"]
# A number, a switch, the name of a choice, or the members of a region (left, top, width, height) or a size (width, height).
ControlValue: TypeAlias = float | int | bool | str | Mapping[str, int] | None

REGION: Final = ("left", "top", "width", "height")
SIZE: Final = ("width", "height")
# A name of a choice that is repeated in an error.
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that a source can be set to.

    `least`, `most` and `step` are numbers, and for a region or a size mappings of its members, in pixels. A button has no
    value: setting it presses it.
    """

    name: str
    kind: ControlKind
    value: ControlValue = None
    least: float | Mapping[str, int] | None = None
    most: float | Mapping[str, int] | None = None
    step: float | Mapping[str, int] | None = None
    unit: str = ""
    choices: tuple[str, ...] | tuple[Mapping[str, int], ...] = ()

    def described(self) -> dict[str, Any]:
        """What is said of it in the event `controls`."""
        return {
            "kind": self.kind,
            "value": _plain(self.value),
            "least": _plain(self.least),
            "most": _plain(self.most),
            "step": _plain(self.step),
            "unit": self.unit,
            "choices": [_plain(choice) for choice in self.choices],
        }

    def checked(self, value: object) -> ControlValue:
        """Takes a value from outside. Raises ValueError with a sentence that may be shown to whoever gave it."""
        match self.kind:
            case "number":
                return self._number(value)
            case "switch":
                if not isinstance(value, bool):
                    raise ValueError(f"{self.name} must be true or false")
                return value
            case "choice":
                if not isinstance(value, str) or value not in self.choices:
                    raise ValueError(f"{self.name} must be one of {', '.join(map(str, self.choices))}"[:500])
                return value
            case "button":
                if value not in (None, True):
                    raise ValueError(f"{self.name} is a button and takes no value")
                return None
            case "region":
                return self._members(value, REGION)
            case "size":
                return self._members(value, SIZE)

    def _number(self, value: object) -> float | int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{self.name} must be a number{self._bounds()}")
        least, most = self.least, self.most
        if (isinstance(least, (int, float)) and value < least) or (isinstance(most, (int, float)) and value > most):
            raise ValueError(f"{self.name} must be a number{self._bounds()}")
        return value

    def _bounds(self) -> str:
        if not isinstance(self.least, (int, float)) or not isinstance(self.most, (int, float)):
            return ""
        return f" from {self.least:g} to {self.most:g}{' ' + self.unit if self.unit else ''}"

    def _members(self, value: object, names: tuple[str, ...]) -> dict[str, int]:
        if not isinstance(value, Mapping) or set(value) != set(names):
            raise ValueError(f"{self.name} must have {', '.join(names[:-1])} and {names[-1]}, and nothing else")
        members: dict[str, int] = {}
        for name in names:
            member = value[name]
            if isinstance(member, bool) or not isinstance(member, (int, float)) or member != int(member):
                raise ValueError(f"{self.name}.{name} must be a whole number of pixels")
            members[name] = int(member)
            least, most = _member(self.least, name, 0), _member(self.most, name, None)
            if members[name] < (least or 0) or (most is not None and members[name] > most):
                bound = "" if most is None else f" to {most}"
                raise ValueError(f"{self.name}.{name} must be a whole number from {least}{bound}")
        if self.choices and members not in [dict(choice) for choice in self.choices if isinstance(choice, Mapping)]:
            known = ", ".join(f"{each['width']}x{each['height']}" for each in self.choices if isinstance(each, Mapping))
            raise ValueError(f"{self.name} must be one of {known}"[:500])
        self._fits(members)
        return members

    def _fits(self, members: Mapping[str, int]) -> None:
        """Raises ValueError for a region that reaches beyond the sensor: `most` of width and height is the sensor's size."""
        for start, length in (("left", "width"), ("top", "height")):
            whole = _member(self.most, length, None)
            if start in members and whole is not None and members[start] + members[length] > whole:
                raise ValueError(f"{self.name} reaches beyond the picture: {start} + {length} must be at most {whole}")


def _member(bounds: object, name: str, otherwise: int | None) -> int | None:
    if not isinstance(bounds, Mapping):
        return otherwise
    found: int | None = bounds.get(name, otherwise)
    return found


def _plain(value: object) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
