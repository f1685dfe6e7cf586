"""Installs the npm packages that the guides' samples are written for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import parts


def node_with(folder: Path, *packages: str) -> str:
    """Installs packages into a folder and returns where node is.

    A machine without node skips, CI may not; where npm's registry cannot be reached the test is skipped anywhere. Packages that
    do not fit together fail it.
    """
    node, npm = (parts.program(parts.NODE, name) for name in ("node", "npm"))
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
    names = ", ".join(packages)
    try:
        got = subprocess.run(
            [npm, "install", *quietly, *packages, "--prefix", str(folder)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not get {names} in time")
    if got.returncode:
        assert "ERESOLVE" not in got.stderr, got.stderr
        pytest.skip(f"npm cannot get {names}: {got.stderr.strip()[-200:]}")
    return node
