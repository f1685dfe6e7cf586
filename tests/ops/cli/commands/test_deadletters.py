"""`callboard deadletters`: its commands and filters."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from router.errors import RouterError
from tests.ops.cli.commands.words import NOWHERE, parse, run


@pytest.mark.parametrize("what", ["redrive", "purge"])
def test_what_changes_dead_letters_wants_to_know_which(what: str) -> None:
    with pytest.raises(Mistakes, match=f"deadletters {what}: which"):
        run("deadletters", what, "--edge-url", NOWHERE)


def test_a_command_that_only_reads_asks_the_edge() -> None:
    with pytest.raises(RouterError, match="no edge answers"):
        run("deadletters", "summary", "--edge-url", NOWHERE)


def test_filters_and_options_are_read() -> None:
    given = parse("deadletters", "redrive", "--reason", "exhausted", "--rate", "0.5", "--no-wait", "--dry-run")

    assert (given.reason, given.rate, given.wait, given.dry_run, given.id) == ("exhausted", 0.5, False, True, None)


def test_a_rate_that_is_no_number_is_told_in_one_line() -> None:
    with pytest.raises(Mistakes, match=r"deadletters redrive: .*--rate"):
        parse("deadletters", "redrive", "--rate", "fast")
