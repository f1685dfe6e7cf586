"""Public class names: none stands twice in the house, so that one word means one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from ops.shape.sources import python_files

ROOT = Path(__file__).parents[1]
# Names that may stand twice, with the reason.
TWICE: dict[str, str] = {}


def test_no_public_class_name_stands_twice() -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in python_files(ROOT):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(ROOT).as_posix())

    assert {name: places for name, places in found.items() if len(places) > 1 and name not in TWICE} == {}
