"""`callboard demo`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import settings


def test_its_flags_say_which_edge_and_nats_it_uses() -> None:
    made = settings("demo", "chat", "--edge-url", "http://edge:8000", "--nats-url", "nats://one:4222")

    assert made.command.edge_url == "http://edge:8000" and made.broker.url == "nats://one:4222"


def test_there_is_one_demonstration() -> None:
    with pytest.raises(Mistakes, match="invalid choice: 'model'"):
        settings("demo", "model")
