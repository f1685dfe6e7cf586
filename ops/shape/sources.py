"""Measures the sizes of files, classes and functions, and how many modules have a test file of their name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("actors", "router", "edge", "ops")
# Python writes these; nobody reads them.
GENERATED = ("_pb2.py", "_pb2_grpc.py")


class Size(NamedTuple):
    """How many lines something has, and where it is."""

    lines: int
    name: str


@dataclass(frozen=True)
class CodeSizes:
    """Longest first."""

    files: list[Size]
    classes: list[Size]
    functions: list[Size]


def python_files(root: Path, packages: tuple[str, ...] = PACKAGES) -> Iterator[Path]:
    """Yields the Python files of the packages below a folder, without generated code."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            if not path.name.endswith(GENERATED):
                yield path


def measure(root: Path) -> CodeSizes:
    """Measures all files below a folder. Raises SyntaxError."""
    files: list[Size] = []
    classes: list[Size] = []
    functions: list[Size] = []
    for path in python_files(root):
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(root).as_posix()
        files.append(Size(text.count("\n"), place))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                size = Size((node.end_lineno or node.lineno) - node.lineno + 1, f"{place}:{node.name}")
                (classes if isinstance(node, ast.ClassDef) else functions).append(size)
    return CodeSizes(sorted(files, reverse=True), sorted(classes, reverse=True), sorted(functions, reverse=True))


@dataclass(frozen=True)
class Mirror:
    """How many modules have behaviour (a function or method), and which of them lack a test file."""

    modules: int
    untested: list[str]

    @property
    def tested(self) -> int:
        return self.modules - len(self.untested)


def count_tested(root: Path, packages: tuple[str, ...] = PACKAGES) -> Mirror:
    """Looks for a test file of each module with behaviour at the mirrored path, and nowhere else.

    The tests of `edge/webhooks/queue/room.py` belong in `tests/edge/webhooks/queue/test_room.py`.
    """
    modules = 0
    untested: list[str] = []
    for path in python_files(root, packages):
        if path.name in ("__init__.py", "__main__.py") or not _has_behaviour(path):
            continue
        modules += 1
        module = path.relative_to(root)
        if not (root / "tests" / module.with_name(f"test_{path.name}")).is_file():
            untested.append(module.as_posix())
    return Mirror(modules, untested)


def _has_behaviour(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(tree))
