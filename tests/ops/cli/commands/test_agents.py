"""`callboard agents`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import parse, run, settings


def test_it_takes_modules_and_the_connection_of_the_other_commands() -> None:
    given = parse("agents", "one:a", "two", "--grace", "5")
    made = settings("agents", "one:a", "--nats-url", "nats://elsewhere:4222")

    assert (given.agents, given.grace) == (["one:a", "two"], 5.0)
    assert made.broker.url == "nats://elsewhere:4222"


def test_a_module_that_is_none_is_named() -> None:
    with pytest.raises(Mistakes, match="there is no module no_such_module"):
        run("agents", "no_such_module:a")
