"""`callboard publish`: what is said of a subject or data that cannot be published, before NATS is asked."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import run


def test_a_subject_with_wildcards_is_refused() -> None:
    with pytest.raises(Mistakes, match="a subject needs 3 to 16 dot-separated tokens"):
        run("publish", "agent.*.progress")


def test_data_that_is_no_json_is_refused() -> None:
    with pytest.raises(Mistakes, match="not JSON"):
        run("publish", "agent.run-1.progress", "[")
