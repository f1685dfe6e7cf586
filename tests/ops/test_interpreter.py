"""Whether a Python was built with profile-guided optimisation is said only where it is known."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ops import interpreter
from ops.interpreter import APART, TOGETHER, judge

PLAIN = "'--enable-shared' '--prefix=/usr'"


def test_the_option_of_configure_is_believed() -> None:
    assert judge("'--enable-optimizations' '--with-lto'", TOGETHER - 1) is True
    assert judge("'--enable-optimizations'", None) is True


def test_without_the_option_it_is_decided_by_how_far_functions_of_one_file_lie_apart() -> None:
    assert judge(PLAIN, TOGETHER - 1) is False
    assert judge(PLAIN, APART + 1) is True


def test_what_is_not_known_is_not_said() -> None:
    assert judge(None, 0) is None
    assert judge(PLAIN, None) is None
    assert judge(PLAIN, (TOGETHER + APART) // 2) is None
    assert judge(f"{PLAIN} '--with-lto'", APART + 1) is None


def test_the_name_says_the_version_and_how_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    known = f"{platform.python_implementation()} {platform.python_version()}"

    said = []
    for optimised in (True, False, None):
        monkeypatch.setattr(interpreter, "is_optimised", lambda optimised=optimised: optimised)
        said.append(interpreter.name())

    assert said == [
        f"{known} with profile-guided optimisation",
        f"{known} without profile-guided optimisation",
        known,
    ]


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.platform != "linux", reason="only CPython on Linux is looked into"
)
def test_the_functions_that_are_looked_at_are_there() -> None:
    assert interpreter._span()


def test_debians_python_is_optimised_although_its_configuration_does_not_say_so() -> None:
    python = Path("/usr/bin/python3")
    # Debian builds without it on some processors.
    if not Path("/etc/debian_version").exists() or not python.exists() or platform.machine() != "x86_64":
        pytest.skip("no Python of Debian here")

    said = subprocess.run(
        [python, "-c", "import sys; from ops.interpreter import is_optimised; print(is_optimised())"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.strip() == "True"


def test_a_python_of_pyenvs_default_build_is_not_optimised() -> None:
    configured = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if ".pyenv" not in sys.base_prefix or "--enable-optimizations" in configured or sys.platform != "linux":
        pytest.skip("this Python is no default build of pyenv")

    assert interpreter.is_optimised() is False
