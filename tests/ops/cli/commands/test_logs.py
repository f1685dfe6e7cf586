"""`callboard logs`: which level of which logger."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import run, settings


def test_a_level_needs_a_logger() -> None:
    with pytest.raises(Mistakes, match="needs a logger and a level"):
        run("logs", "level", "edge")


def test_the_internal_port_can_be_named() -> None:
    made = settings("logs", "level", "edge", "debug", "--port", "9090")

    assert made.internal.port == 9090
