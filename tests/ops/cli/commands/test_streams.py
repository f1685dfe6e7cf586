"""`callboard streams`: how long it waits."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from router.errors import BrokerError
from tests.ops.cli.commands.words import run


def test_a_time_to_wait_that_is_none_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match="streams --patience soon: needs a number, or a duration"):
        run("streams", "diff", "--patience", "soon")


def test_without_nats_it_fails_once_the_time_is_over() -> None:
    with pytest.raises(BrokerError, match="no NATS server answers"):
        run("streams", "diff", "--nats-url", "nats://127.0.0.1:1")
