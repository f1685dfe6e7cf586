"""`callboard version`."""

from __future__ import annotations

import platform

import pytest

from tests.ops.cli.commands.words import run


def test_the_versions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version") == 0

    said = capsys.readouterr().out
    assert f"python {platform.python_version()}" in said and "callboard " in said
