"""`callboard webhooks`: its commands and options."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from router.errors import RouterError
from tests.ops.cli.commands.words import NOWHERE, parse, run


@pytest.mark.parametrize("what", ["attempts", "health", "verify", "enable", "disable", "rotate"])
def test_each_command_asks_the_edge_about_one_session(what: str) -> None:
    with pytest.raises(RouterError, match="no edge answers"):
        run("webhooks", what, "sess_1", "--edge-url", NOWHERE)


def test_a_recovery_wants_to_know_since_when() -> None:
    with pytest.raises(Mistakes, match="webhooks recover: since when"):
        run("webhooks", "recover", "sess_1")


@pytest.mark.parametrize("what", ["recover", "replay"])
def test_recover_and_replay_take_a_rate_and_may_be_left_alone(what: str) -> None:
    given = parse("webhooks", what, "sess_1", "--since", "2h", "--rate", "10", "--no-wait")

    assert (given.session, given.since, given.rate, given.wait) == ("sess_1", "2h", 10.0, False)


def test_a_way_to_sign_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match=r"webhooks rotate: .*hmac-sha256"):
        parse("webhooks", "rotate", "sess_1", "--signing", "md5")
