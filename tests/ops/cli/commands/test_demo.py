"""`callboard demo`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import settings


def test_its_flags_say_which_edge_it_uses_and_what_to_show_it() -> None:
    made = settings("demo", "chat", "--edge-url", "http://edge:8000", "--token", "a token")

    assert (made.command.edge_url, made.command.token) == ("http://edge:8000", "a token")


def test_there_is_one_demonstration() -> None:
    with pytest.raises(Mistakes, match="invalid choice: 'model'"):
        settings("demo", "model")
