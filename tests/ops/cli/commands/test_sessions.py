"""`callboard sessions`: which edge is asked."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from router.errors import RouterError
from tests.ops.cli.commands.words import NOWHERE, run


def test_an_edge_that_does_not_answer_is_told_with_how_to_start_one() -> None:
    with pytest.raises(RouterError, match=r"no edge answers at http://127.0.0.1:1 .*callboard up"):
        run("sessions", "--edge-url", NOWHERE)


def test_an_address_that_is_none_of_http_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match="needs the edge's own address"):
        run("sessions", "--edge-url", "ftp://example.com")
