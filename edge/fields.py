"""Checks that a body is a JSON object of known fields: what is misspelt is refused instead of being ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from edge.errors import Problem

# Characters of the names that are said back.
_SHOWN = 200


# How it is said which names are not taken, and which are.
NOT_KNOWN = ("not known", "known are")
UNCHANGEABLE = ("cannot be changed", "can be:")


def unknown_fields(given: Iterable[Any], known: Collection[str], say: tuple[str, str] = NOT_KNOWN) -> str:
    """Says which names are not known, and which are; "" where all of them are. A set of known names is shown sorted."""
    unknown = sorted(str(name) for name in given if name not in known)
    if not unknown:
        return ""
    names = sorted(known) if isinstance(known, (set, frozenset)) else known
    return f"{say[0]}: {', '.join(unknown)[:_SHOWN]}; {say[1]} {', '.join(names) or 'none'}"


def json_object(body: Any, known: Collection[str], say: tuple[str, str] = NOT_KNOWN) -> dict[str, Any]:
    """Reads a body that is a JSON object of known fields. Raises Problem `bad_body` or `unknown_field`."""
    if not isinstance(body, dict):
        raise Problem("bad_body", "the body must be a JSON object")
    if fault := unknown_fields(body, known, say):
        raise Problem("unknown_field", fault)
    return body
