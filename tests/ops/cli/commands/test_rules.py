"""`callboard rules`: what it must be told."""

from __future__ import annotations

import re
import textwrap

import pytest

from actors.alerts.parser import parse as parse_rules
from actors.alerts.rulebook import SHIPPED
from actors.alerts.ruletests import read_tests, run_test
from ops.settings import Mistakes
from tests.ops.cli.commands.words import parse, run


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["check"], "needs FILE"),
        (["test"], "needs FILE"),
        (["backtest"], "needs either FILE or --live"),
        (["backtest", "x.yaml", "--live"], "needs either FILE or --live"),
        (["check", "--live"], "--live is for backtest"),
        (["test", "/nowhere/rules.yaml"], "No such file"),
        (["backtest", "--live", "--since", "soon"], "--since soon: needs a time"),
        (["backtest", "--live", "--since", "1h", "--until", "2h"], "--since must be before --until"),
    ],
)
def test_mistakes_are_told_before_nats_is_asked(words: list[str], reason: str) -> None:
    with pytest.raises(Mistakes, match=reason):
        run("rules", *words)


def test_the_example_of_a_test_in_the_help_and_at_the_head_of_the_shipped_rules_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse("rules", "test", "--help")
    helped = textwrap.dedent(capsys.readouterr().out.partition("beside `rules`:\n")[2])
    shipped = SHIPPED.read_text().partition("stand under `tests` beside `rules`:\n#\n")[2].partition("#\n")[0]
    rule = "{name: hot, when: data.celsius > 80, value: data.celsius, resolve_after: 5m}"
    for example in (helped, textwrap.dedent(re.sub("(?m)^#", "", shipped))):
        (test,) = read_tests(example, "rules.yaml")
        assert run_test(parse_rules(f"rules: [{rule}]", "rules.yaml"), test) == []


def test_without_since_a_week_is_tested() -> None:
    given = parse("rules", "backtest", "rules.yaml")

    assert (given.file, given.since, given.until, given.live) == ("rules.yaml", "7d", None, False)


@pytest.mark.parametrize(
    "words",
    [["check", "--json", "rules.yaml"], ["--json", "check", "rules.yaml"], ["check", "rules.yaml", "--json"]],
)
def test_options_may_stand_anywhere(words: list[str]) -> None:
    given = parse("rules", *words)

    assert (given.what, given.file, given.json) == ("check", "rules.yaml", True)


def test_an_option_with_a_value_may_stand_between_the_words() -> None:
    given = parse("rules", "backtest", "--since", "2h", "rules.yaml", "--until", "1h")

    assert (given.file, given.since, given.until) == ("rules.yaml", "2h", "1h")
