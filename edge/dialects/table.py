"""The table of dialects: each value of a module of this package, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import edge.dialects
from edge.dialects.dialect import Dialect, SharedDialect


def gather(package: ModuleType) -> dict[str, Dialect]:
    """The dialects of a package's modules, so that one more is one more file. Raises ValueError where two have one name."""
    found: dict[str, Dialect] = {}
    for each in iter_modules(package.__path__, f"{package.__name__}."):
        for value in tuple(vars(import_module(each.name)).values()):
            # A module may import the dialect of another one.
            if isinstance(value, Dialect) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two dialects have the name {value.name!r}, one of them in {each.name}")
    return found


DIALECTS: Mapping[str, Dialect] = gather(edge.dialects)

SESSION_DIALECTS: Mapping[str, SharedDialect] = {
    name: dialect for name, dialect in DIALECTS.items() if isinstance(dialect, SharedDialect) and dialect.for_sessions
}
