"""Runs a module of Callboard in a child process, always from the folder that this file is in.

The parent starts it as `python -P …/ops/launch.py MODULE ARGUMENTS…`. With `-m MODULE` instead, Python would search the
current folder first and run an `ops.py` that somebody keeps there.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path


def own_argv(*arguments: str, module: str = "ops") -> list[str]:
    """Builds the command line of a child process that runs one of our modules."""
    return [sys.executable, "-P", str(Path(__file__).resolve()), module, *arguments]


def _load_own_package() -> None:
    """Imports `ops` from this folder; the search path may find another one first. It then pins the other packages."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "ops", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    sys.modules["ops"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_own_package()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
