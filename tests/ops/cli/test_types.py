"""Tests where the types are written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.cli.types import run_types


def test_the_types_are_written_to_a_file_and_the_terminal_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "events.ts"

    assert run_types("typescript", out) == 0

    assert "export interface ProgressData" in out.read_text()
    told = capsys.readouterr()
    assert told.out == "" and str(out) in told.err
