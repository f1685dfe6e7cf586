"""Packages of other distributions that have the names of Callboard's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ops.cli.checks.findings import OK, WARN
from ops.cli.checks.packages import examine_packages


def test_in_an_environment_of_its_own_nothing_is_found() -> None:
    assert [finding.verdict for finding in examine_packages()] == [OK]


def test_a_package_of_the_same_name_before_ours_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.path_importer_cache.clear()

    found = examine_packages()

    assert any(each.verdict == WARN and f"router is {tmp_path}" in each.found for each in found)
