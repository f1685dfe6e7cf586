"""Checks that Callboard's import packages are those of its distribution, and that no other distribution has the same names."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import ops
from ops.cli.checks.findings import OK, WARN, CheckResult

_MEND = "give Callboard an environment of its own (`make install` makes one), and keep other code out of PYTHONPATH"


def examine_packages() -> list[CheckResult]:
    """Says which of the packages are not the distribution's own, or may be mistaken for another's."""
    strangers = [f"{name} is {where}" for name in ops.PACKAGES if (where := _shadow(name))]
    shared = [
        f"{other} installs {name}, too"
        for name, owners in importlib.metadata.packages_distributions().items()
        if name in ops.PACKAGES
        for other in sorted(set(owners) - {"callboard"})
    ]
    findings = []
    installed = _installed()
    if installed is not None and installed != Path(ops.ROOT).resolve():
        findings.append(CheckResult("packages", WARN, f"this runs {ops.ROOT}; installed is {installed}", _MEND))
    if strangers or shared:
        findings.append(CheckResult("packages", WARN, "; ".join((*strangers, *shared)), _MEND))
    return findings or [CheckResult("packages", OK, f"{', '.join(ops.PACKAGES)} are Callboard's own")]


def _shadow(name: str) -> str | None:
    """Finds where a program other than the command would import a package from; None where that is ours."""
    spec: ModuleSpec | None = None
    for finder in sys.meta_path:
        if not isinstance(finder, ops.OwnPackages) and (spec := finder.find_spec(name, None)):
            break
    if spec is None:
        return None  # not installed, so nothing is taken for it
    where = spec.origin or next(iter(spec.submodule_search_locations or ()), "unknown")
    return None if Path(where).resolve().is_relative_to(Path(ops.ROOT).resolve() / name) else where


def _installed() -> Path | None:
    """Finds the folder that the distribution is installed in, or refers to where it is editable."""
    try:
        distribution = importlib.metadata.distribution("callboard")
    except importlib.metadata.PackageNotFoundError:
        return None
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        return Path(unquote(urlsplit(direct["url"]).path)).resolve()
    return Path(str(distribution.locate_file(""))).resolve()
