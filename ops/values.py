"""Reads values from text: numbers, durations, sizes, lists, members of an enumeration."""

from __future__ import annotations

import math
import re
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any, Literal

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1024,
    "mi": 1024**2,
    "gi": 1024**3,
    "ti": 1024**4,
}
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def convert(kind: Any, text: str) -> Any:
    """Reads a value of a kind from text; raises ValueError saying what is needed."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if type(None) in args and text.lower() in ("", "none"):
            return None
        return convert(next(arg for arg in args if arg is not type(None)), text)
    if origin is Literal:
        if text in args:
            return text
        raise ValueError(f"needs one of {', '.join(map(str, args))}")
    if origin in (tuple, list):
        # What stands on lines of its own may have commas in it.
        parts = [part.strip() for part in text.split("\n" if "\n" in text else ",") if part.strip()]
        return origin(convert(args[0] if args else str, part) for part in parts)
    if kind is bool:
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise ValueError("needs true or false")
    if kind is int:
        return _whole(text)
    if kind is float:
        return seconds(text)
    if kind is Path:
        return Path(text).expanduser()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, text)
    return text


def seconds(text: str) -> float:
    """Reads a number, or a duration such as 90s, 7d, 1h30m or 250ms, as seconds; raises ValueError."""
    text = text.strip().lower()
    try:
        value = float(text)
    except ValueError:
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text)
        if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
            raise ValueError("needs a number, or a duration such as 90s, 15m or 7d") from None
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not math.isfinite(value):
        raise ValueError("needs a finite number")
    return value


def _whole(text: str) -> int:
    found = re.fullmatch(r"([+-]?\d[\d_]*)(?:\s*([kmgt]i?)?b?)?", text.strip().lower())
    if not found:
        # 1.5GiB is no whole number of anything but bytes.
        found = re.fullmatch(r"(\d+\.\d+)\s*([kmgt]i?)b?", text.strip().lower())
        if not found:
            raise ValueError("needs a whole number, or a size such as 512MiB or 1GB")
        return int(float(found[1]) * _SIZES[found[2]])
    return int(found[1]) * _SIZES[found[2] or ""]


def _member(kind: type[Enum], text: str) -> Enum:
    plain = text.lower().replace("-", "_").replace(" ", "_")
    for member in kind:
        if plain in (member.name.lower(), str(member.value).lower()):
            return member
    names = ", ".join(member.name.lower().replace("_", "-") for member in kind)
    raise ValueError(f"needs one of {names}")


def check_setting(name: str, value: object) -> None:
    """Raises ValueError where a value is a negative number, or its setting is named like a port and it cannot be one.

    No setting knows a number below zero; what has no limit is 0 or none.
    """
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)):
            continue
        if name.removesuffix("s").rpartition("_")[2] == "port" and not 0 <= number <= 65535:
            raise ValueError("needs a port from 0 to 65535")
        if number < 0:
            raise ValueError("may not be negative")
