"""`callboard token`: what a token may."""

from __future__ import annotations

import base64
import json

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import run


def test_without_a_secret_it_says_how_to_make_one() -> None:
    with pytest.raises(Mistakes, match="set CALLBOARD_JWT_SECRET"):
        run("token", "--read", ">")


def test_each_right_may_be_given_several_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLBOARD_JWT_SECRET", "s" * 32)

    assert run("token", "--read", "a.>", "--read", "b.>", "--command", "agent.main.*", "--ttl", "8h") == 0
    claims = json.loads(base64.urlsafe_b64decode(capsys.readouterr().out.split(".")[1] + "=="))

    assert claims["callboard"]["read"] == ["a.>", "b.>"]
    assert claims["callboard"]["command"] == ["agent.main.*"]
    assert claims["exp"] - claims["iat"] == 8 * 3600
