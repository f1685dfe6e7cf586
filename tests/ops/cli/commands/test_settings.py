"""`callboard settings`: what the flags and variables come to."""

from __future__ import annotations

import json

import pytest

from tests.ops.cli.commands.words import run


def test_each_setting_says_where_its_value_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "9000")

    assert run("settings", "--json", "--nats-url", "nats://127.0.0.1:1") == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)}

    assert (rows["CALLBOARD_EDGE_PORT"]["value"], rows["CALLBOARD_EDGE_PORT"]["source"]) == (9000, "environment")
    assert rows["CALLBOARD_NATS_URL"]["source"] == "flag"
    assert rows["CALLBOARD_EDGE_HOST"]["source"] == "default"
