"""`callboard tail`: patterns and where it begins."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import parse, run


def test_mistakes_are_told_before_nats_is_asked() -> None:
    with pytest.raises(Mistakes, match="a pattern needs dot-separated tokens"):
        run("tail", "a..b")
    with pytest.raises(Mistakes, match="last must be a number from 0"):
        run("tail", "a.b.c", "--last", "some")


def test_several_patterns_and_types_are_read() -> None:
    given = parse("tail", "a.>", "b.>", "--type", "done", "--type", "failed", "--no-follow")

    assert (given.patterns, given.type, given.no_follow) == (["a.>", "b.>"], ["done", "failed"], True)
