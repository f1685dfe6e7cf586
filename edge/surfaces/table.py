"""The table of surfaces: the `ROWS` of each module of this package, and the routes and accesses that they make."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from starlette.routing import BaseRoute

import edge.surfaces
from edge.auth.authenticator import Access
from edge.surfaces.serving import serve
from edge.surfaces.surface import Surface


def gather(package: ModuleType) -> tuple[Surface, ...]:
    """The rows of a package's modules, so that one more protocol is one more file.

    Raises ValueError where two rows have one address, or one path has two accesses.
    """
    rows: dict[tuple[str, str], Surface] = {}
    accesses: dict[str, Access] = {}
    for each in iter_modules(package.__path__, f"{package.__name__}."):
        for row in getattr(import_module(each.name), "ROWS", ()):
            if rows.setdefault((row.method, row.path), row) is not row:
                raise ValueError(f"two surfaces have the address {row.method} {row.path}, one of them in {each.name}")
            if accesses.setdefault(row.path, row.access) is not row.access:
                raise ValueError(f"the path {row.path} has two accesses, one of them in {each.name}")
    return tuple(rows.values())


SURFACES: tuple[Surface, ...] = gather(edge.surfaces)

ACCESS: Mapping[str, Access] = {surface.path: surface.access for surface in SURFACES}


def routes() -> list[BaseRoute]:
    """The routes of all rows, made anew: each application wraps its own."""
    return [surface.route(serve) for surface in SURFACES]
