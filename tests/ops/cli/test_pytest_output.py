"""Tests of pytest_output.py: what real runs of pytest print, in all its styles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.progress import LineReader, Progress
from ops.cli.pytest_output import PytestOutput, runs_pytest

TESTS = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_of_many(n):
    assert n != 5

def test_skipped():
    pytest.skip("not today")

@pytest.mark.xfail
def test_of_which_nothing_else_is_expected():
    assert False
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_one.py").write_text(TESTS.format(count=98))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    return folder


def read(project: Path, *options: str, bytewise: bool = True, known: bool = True) -> list[Progress]:
    """What `callboard run` understands of a run, byte by byte as dots come, or line by line."""
    command = [sys.executable, "-m", "pytest", *options]
    # Without the plugins of this environment, which take seconds to import.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=project, capture_output=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    reader, seen = LineReader(known), []
    pieces = [done.stdout[at : at + 1] for at in range(len(done.stdout))] if bytewise else [done.stdout]
    for _, progress in [*map(reader.feed, pieces), reader.end()]:
        if progress is not None and (not seen or progress != seen[-1]):
            seen.append(progress)
    return seen


def assert_all_is_told(seen: list[Progress]) -> None:
    assert seen[-1].message == "97 passed, 1 failed, 1 skipped, 1 xfailed"
    assert seen[-1].progress == 1.0 and seen[-1].current == 100
    shares = [each.progress for each in seen if each.progress is not None]
    assert shares == sorted(shares)


def test_each_dot_of_a_quiet_run_counts(project: Path) -> None:
    seen = read(project, "-q")

    assert_all_is_told(seen)
    counted = [each.current for each in seen]
    assert set(counted) == set(range(1, 101))
    # The first column comes after 72 tests; from then on each dot is a share of what it makes likely.
    assert next(each for each in seen if each.current == 71).progress is None
    assert next(each for each in seen if each.current == 86).progress == pytest.approx(0.86, abs=0.01)


def test_where_pytest_says_how_many_were_collected_each_dot_is_a_share_of_them(project: Path) -> None:
    seen = read(project, "-o", "console_output_style=classic", known=False)

    assert_all_is_told(seen)
    assert seen[0] == Progress(0.01, "1 passed", 1, 100)
    assert next(each for each in seen if each.current == 6).message == "5 passed, 1 failed"


@pytest.mark.parametrize(
    "options",
    [("-q", "-o", "console_output_style=count"), ("-v",), ("-vv", "-o", "console_output_style=count"), ()],
    ids=["count", "verbose", "verbose count", "usual"],
)
def test_the_other_styles_are_understood(project: Path, options: tuple[str, ...]) -> None:
    assert_all_is_told(read(project, *options, known=False))


def test_the_workers_of_xdist_are_understood(project: Path) -> None:
    seen = read(project, "-p", "xdist", "-n", "1", known=False)

    assert seen[-1].current == 100 and seen[-1].progress == 1.0
    reader = PytestOutput()
    assert reader.read("1 worker [4 items]") is None
    found = reader.read("[gw0] [ 25%] PASSED test_one.py::test_of_many[0] ")
    assert found is not None and (found.done, found.total, found.progress) == (1, 4, 0.25)
    assert reader.read("FAILED test_one.py::test_of_many[5] - assert 5 != 5") is None


def test_dots_of_who_knows_what_are_no_tests() -> None:
    reader = PytestOutput()

    assert [reader.read(text) for text in ("...", "E", "sF.", "waiting .....", "[ 42%]")] == [None] * 5


@given(st.lists(st.text(".FEsxX", min_size=1, max_size=72), min_size=1))
def test_dots_never_count_twice_however_they_come(lines: list[str]) -> None:
    reader = PytestOutput(expected=True)
    whole = "".join(lines)
    seen = []
    for number, line in enumerate(lines):
        seen += [reader.read(line[:end], partial=True) for end in range(1, len(line) + 1)]
        percent = len("".join(lines[: number + 1])) * 100 // len(whole)
        seen.append(reader.read(f"{line} [{percent:3d}%]"))

    found = [each for each in seen if each is not None]
    assert len(found) == len(seen) and found[-1].done == len(whole) and found[-1].progress == 1.0
    shares = [each.progress for each in found if each.progress is not None]
    assert shares == sorted(shares)


def test_a_command_is_pytest_by_its_words() -> None:
    assert runs_pytest(["pytest", "-q"]) and runs_pytest(["/x/bin/python", "-m", "pytest"])
    assert runs_pytest(["uv", "run", "pytest"]) and not runs_pytest(["make", "test"])
