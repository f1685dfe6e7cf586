"""Where programs of others are missing, a run says in its last line what was skipped for which, and what would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
# One test for each part, besides one that needs none.
NEEDY = """
import pytest
from tests import parts

@pytest.mark.parametrize("number", range(2))
def test_that_needs_a_browser(number):
    parts.program(parts.CHROMIUM)

def test_that_needs_nginx():
    parts.program(parts.NGINX)

def test_that_needs_prometheus():
    parts.program(parts.PROMETHEUS, "promtool")

def test_that_needs_docker():
    parts.missing(parts.DOCKER, "none answers")

def test_that_needs_none():
    pass
"""


def run(folder: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the tests above with this project's conftest, on a machine that seems to have no programs."""
    (folder / "test_needy.py").write_text(NEEDY)
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        f"--rootdir={folder}",
    )
    return subprocess.run(
        [*command, *more, str(folder)],
        cwd=folder,
        env={"PATH": str(folder), "PYTHONPATH": str(ROOT), "CALLBOARD_TEST_SBIN": "", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


@pytest.mark.parametrize(
    "workers",
    [pytest.param((), marks=pytest.mark.slow, id="one process"), pytest.param(("-n", "2"), id="many processes")],
)
def test_a_run_without_them_passes_and_says_once_what_would_run_the_rest(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    done = run(tmp_path, *workers)

    said = [line for line in done.stdout.splitlines() if "make test-all" in line]
    assert done.returncode == 0, done.stdout + done.stderr
    assert said == [
        "skipped 5 tests: 2 need chromium, 1 need nginx, 1 need Prometheus, 1 need a Docker engine; "
        "`apt-get install chromium nginx-light prometheus` or `make test-all` would run them"
    ]
    assert done.stdout.splitlines()[-2:-1] == said, "only pytest's own last line comes behind it"


def test_in_ci_a_missing_part_fails_its_tests(tmp_path: Path) -> None:
    done = run(tmp_path, CI="true")

    assert done.returncode == 1
    assert "5 failed, 1 passed" in done.stdout
    assert "needs chromium: chromium is not on this machine (apt-get install chromium)" in done.stdout


def test_where_nothing_is_missing_nothing_is_said() -> None:
    assert parts.closing_line([]) == ""
    assert parts.closing_line(["Skipped: looks into /proc"]) == ""


def test_ci_installs_all_that_the_closing_line_names() -> None:
    installs = (ROOT / ".ci" / "install").read_text()

    for part in parts.PARTS:
        assert all(f"missing+=({package})" in installs for package in part.packages), part
