"""Looks up headers of a request in a map that is made once; Starlette goes through all of them for each name."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

HEAD = "callboard.head"


def head_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers of a request by their names in lower case; the first of those that occur more than once."""
    found: Mapping[bytes, bytes] | None = scope.get(HEAD)
    if found is None:
        found = scope[HEAD] = dict(reversed(list(scope.get("headers", ()))))
    return found


def header_of(scope: Scope, name: bytes) -> str | None:
    """One header of a request."""
    value = head_of(scope).get(name)
    return None if value is None else value.decode("latin-1")
