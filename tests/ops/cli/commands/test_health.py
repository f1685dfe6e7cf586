"""`callboard health`: exit code 1 where nothing is ready."""

from __future__ import annotations

import pytest

from tests.ops.cli.commands.words import NOWHERE, run


def test_a_process_that_does_not_answer_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLBOARD_EDGE_URL", NOWHERE)

    assert run("health") == 1
    assert "connection refused" in capsys.readouterr().err
