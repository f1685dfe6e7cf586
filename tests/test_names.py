"""Public class names: none stands twice in the house, so that one word means one thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from ops.shape.sources import python_files

ROOT = Path(__file__).parents[1]
CLASS = re.compile(r"^class ([A-Za-z]\w*)", re.MULTILINE)
# Names that may stand twice, with the reason.
TWICE: dict[str, str] = {}


def classes(path: Path) -> list[str]:
    """The names of the classes of a module."""
    return [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]


def test_no_public_class_name_stands_twice() -> None:
    seen: defaultdict[str, list[Path]] = defaultdict(list)
    for path in python_files(ROOT):
        for name in CLASS.findall(path.read_text(encoding="utf-8")):
            seen[name].append(path)
    # The text of a test may hold a class that is none of the house: those that seem to stand twice are looked up.
    found = {
        name: [path.relative_to(ROOT).as_posix() for path in set(paths) for _ in range(classes(path).count(name))]
        for name, paths in seen.items()
        if len(paths) > 1
    }

    assert {name: places for name, places in found.items() if len(places) > 1 and name not in TWICE} == {}
