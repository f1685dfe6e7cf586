"""The command line, the settings and the process tree.

Importing it makes Callboard's own packages come from the folder that this one is in. Their names (`edge`, `router`, `ops`) are
common ones: a file of such a name in the current folder, or another distribution, must not be run in their place.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

PACKAGES = ("actors", "edge", "ops", "protos", "router")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class OwnPackages(importlib.abc.MetaPathFinder):
    """Finds Callboard's packages beside this one, wherever the search path would look first."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.PathFinder.find_spec(name, [ROOT], target) if name in PACKAGES else None


sys.meta_path.insert(0, OwnPackages())
# While `python -m ops` looks for what it is to run, argv is this: Python has put the current folder first.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] != ROOT:
    del sys.path[0]
