"""Flags that are another way to set a variable."""

from __future__ import annotations

import pytest

from ops.cli.flags import Parser, load
from ops.settings import Mistakes


def parser() -> Parser:
    made = Parser(prog="callboard try")
    made.setting("--port", "EDGE_PORT", "the port")
    made.setting("--only", "UP_ONLY", "these only", action="append")
    return made


def test_a_flag_sets_its_variable_and_says_so_in_a_mistake() -> None:
    assert load(parser().parse_args(["--port", "9000"]), "edge", adopt=()).section("edge").port == 9000

    with pytest.raises(Mistakes, match="--port=many"):
        load(parser().parse_args(["--port", "many"]), "edge", adopt=())


def test_a_flag_that_was_not_given_sets_nothing() -> None:
    assert "CALLBOARD_EDGE_PORT" not in vars(parser().parse_args([]))


def test_a_flag_that_is_repeated_is_a_list() -> None:
    made = load(parser().parse_args(["--only", "edge", "--only", "agent"]), adopt=())

    assert made.up.only == ("edge", "agent")


def test_its_help_names_the_variable() -> None:
    assert "[CALLBOARD_EDGE_PORT]" in parser().format_help()


def test_a_mistake_is_one_line_that_names_the_command() -> None:
    with pytest.raises(Mistakes) as told:
        parser().parse_args(["--prt", "1"])

    assert told.value.lines == ["try: unrecognized arguments: --prt 1; see `callboard try --help`"]
