"""Finds import circles and floors: which module imports which, also inside functions and under TYPE_CHECKING."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

from ops.shape.sources import PACKAGES, python_files

Name = TypeVar("Name", bound=Hashable)
Graph = Mapping[Name, set[Name]]


def import_graph(root: Path, packages: tuple[str, ...] = PACKAGES) -> dict[str, set[str]]:
    """Reads which module of the packages imports which others of them. Raises SyntaxError."""
    paths = {_module(path.relative_to(root)): path for path in python_files(root, packages)}
    return {module: _imported(path, set(paths)) - {module} for module, path in paths.items()}


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, known: set[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.update({whole} & known or {node.module} & known)
    return found


def circles(graph: Graph[Name]) -> list[list[Name]]:
    """The sets of modules that import each other, directly or through others; the largest first."""
    found = [part for part in components(graph) if len(part) > 1]
    return sorted((sorted(part, key=str) for part in found), key=lambda part: (-len(part), str(part)))


def components(graph: Graph[Name]) -> list[set[Name]]:
    """The strongly connected components of a graph, each before those that lead to it (Tarjan's algorithm)."""
    index: dict[Name, int] = {}
    low: dict[Name, int] = {}
    stack: list[Name] = []
    on_stack: set[Name] = set()
    found: list[set[Name]] = []

    def visit(node: Name) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for other in sorted(graph.get(node, ()), key=str):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on_stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part: set[Name] = set()
            while node not in part:
                part.add(stack.pop())
            on_stack.difference_update(part)
            found.append(part)

    for node in sorted(graph, key=str):
        if node not in index:
            visit(node)
    return found


def rooms(graph: Graph[str], package: str) -> dict[str, set[str]]:
    """The imports between the direct children of a package; each child is a module or a folder with all that is in it."""

    def room(module: str) -> str | None:
        parts = module.split(".")
        return ".".join(parts[:2]) if parts[0] == package and len(parts) > 1 else None

    found: dict[str, set[str]] = {}
    for module, imported in graph.items():
        if (here := room(module)) is None:
            continue
        into = found.setdefault(here, set())
        for other in imported:
            if (there := room(other)) is not None and there != here:
                into.add(there)
    return found


def floors(graph: Graph[Name]) -> dict[Name, int]:
    """On which floor each node lies: 1 for what imports nothing, else one above the highest that it imports.

    Nodes that import each other lie on one floor.
    """
    found: dict[Name, int] = {}
    for part in components(graph):
        below = {other for node in part for other in graph.get(node, ())} - part
        floor = 1 + max((found[other] for other in below), default=0)
        found.update(dict.fromkeys(part, floor))
    return found
