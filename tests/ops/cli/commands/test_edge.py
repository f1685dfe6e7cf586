"""`callboard edge`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import settings


def test_its_flags_are_the_edges_settings() -> None:
    made = settings("edge", "--port", "9000", "--host", "127.0.0.2", "--workers", "3", sections=("edge",))

    edge = made.section("edge")
    assert (edge.host, edge.port, edge.workers) == ("127.0.0.2", 9000, 3)


def test_a_mistake_is_told_by_the_flag_that_was_given() -> None:
    with pytest.raises(Mistakes, match="--workers=many"):
        settings("edge", "--workers", "many", sections=("edge",))
