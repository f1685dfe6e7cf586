"""`callboard flush`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import settings


def test_its_flags_say_where_it_sends_to() -> None:
    made = settings("flush", "--nats-url", "nats://one:4222", "--token", "secret")

    assert made.broker.url == "nats://one:4222" and made.command.token == "secret"


def test_a_wrong_patience_is_a_mistake() -> None:
    from ops.cli.commands import parser
    from ops.cli.commands.flush import run

    with pytest.raises(Mistakes, match="--patience soon"):
        run(parser("flush").parse_args(["flush", "--patience", "soon"]))
