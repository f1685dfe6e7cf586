"""Where npm gets no packages, a machine skips its tests, and CI fails them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import npm, parts


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
@pytest.mark.parametrize("late", [True, False])
def test_packages_that_npm_does_not_get_fail_in_ci_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException], late: bool
) -> None:
    parts.program(parts.NODE, "npm")

    def run(command: list[str], **named: Any) -> Any:
        if late:
            raise subprocess.TimeoutExpired(command, named["timeout"])
        return subprocess.CompletedProcess(command, 1, "", "the registry cannot be reached")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="needs packages of npm's registry: npm"):
        npm.node_with(tmp_path, "react")
