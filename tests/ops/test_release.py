"""A release is one version in every file that names it, and a dated section of the changelog; or nothing at all."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from pathlib import Path

import pytest

from ops.release import CHANGELOG, PLACES, ROOT, BadRelease, release, versions
from router.version import VERSION
from tests.ops.command import callboard

DAY = datetime.date(2031, 2, 3)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that name the version, with one change to be released."""
    for file in PLACES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text())
    (tmp_path / CHANGELOG).write_text("# Changelog\n\n## [Unreleased]\n\n### Added\n\n- This.\n")
    return tmp_path


def _files(tree: Path) -> dict[str, str]:
    return {str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()}


def test_every_file_names_the_same_version() -> None:
    assert set(versions().values()) == {VERSION}
    assert importlib.metadata.version("callboard") == VERSION, "install again: make install"


def test_a_release_is_in_every_file_and_in_the_changelog(tree: Path) -> None:
    changed = release("1.2.0", DAY, tree)

    assert set(versions(tree).values()) == {"1.2.0"}
    assert changed == sorted([CHANGELOG, *PLACES])
    text = (tree / CHANGELOG).read_text()
    assert text == "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2031-02-03\n\n### Added\n\n- This.\n"


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("1.2", "no version"),
        ("v1.2.3", "no version"),
        ("1.2.0", "already"),
        ("1.1.9", "not newer"),
        ("1.2.0rc1", "not newer"),
    ],
)
def test_a_version_that_is_none_or_not_newer_changes_nothing(tree: Path, version: str, told: str) -> None:
    release("1.2.0", DAY, tree)
    (tree / CHANGELOG).write_text((tree / CHANGELOG).read_text().replace("d]\n", "d]\n\n- More.\n", 1))
    before = _files(tree)

    with pytest.raises(BadRelease, match=told):
        release(version, DAY, tree)

    assert _files(tree) == before


def test_a_release_needs_a_change_and_one_version_to_begin_with(tree: Path) -> None:
    release("1.2.0", DAY, tree)
    with pytest.raises(BadRelease, match="nothing under Unreleased"):
        release("1.3.0", DAY, tree)

    chart = tree / "k8s/chart/Chart.yaml"
    chart.write_text(chart.read_text().replace("appVersion: 1.2.0", "appVersion: 9.9.9"))
    with pytest.raises(BadRelease, match=r"several versions: 1\.2\.0, 9\.9\.9"):
        release("1.3.0", DAY, tree)


def test_the_command_says_the_version() -> None:
    assert callboard("--version").stdout.splitlines()[0] == f"callboard {VERSION}"
    assert json.loads(callboard("version", "--json").stdout)["callboard"] == VERSION
