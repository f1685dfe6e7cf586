"""Rules of a file and rules of the API side by side, each read again where it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.alerts.rulebook import RuleBook, parse_one
from actors.alerts.rules import BadRules
from router.rule_store import StoredRule
from tests.actors.alerts.readings import HOT, written

WARM = "name: warm\nwhen: data.celsius > 30\n"


def stored(*texts: tuple[str, str], enabled: bool = True) -> dict[str, StoredRule]:
    return {
        name: StoredRule(name=name, text=text, version=1, created=1, updated=1, enabled=enabled) for name, text in texts
    }


def book(folder: Path) -> RuleBook:
    made = RuleBook(written(folder, HOT))
    assert made.look() and not made.look()
    made.take_file(made.load())
    return made


def take(rules: RuleBook, given: dict[str, StoredRule]) -> list[str]:
    rules.take_stored(rules.read_stored(given), given)
    return [rule.name for rule in rules.rules]


def test_rules_of_the_api_stand_beside_those_of_the_file(tmp_path: Path) -> None:
    rules = book(tmp_path)
    assert take(rules, stored(("warm", WARM))) == ["hot", "warm"]
    assert take(rules, stored(("warm", WARM), enabled=False)) == ["hot"]
    assert take(rules, {}) == ["hot"]


def test_a_rule_is_compiled_again_only_where_its_text_changed(tmp_path: Path) -> None:
    rules = book(tmp_path)
    take(rules, stored(("warm", WARM)))
    before = rules.rules[1]
    take(rules, stored(("warm", WARM), ("cold", WARM.replace("warm", "cold"))))
    assert rules.rules[1] is before


def test_a_name_that_the_file_has_and_an_invalid_text_are_told_and_not_in_force(tmp_path: Path) -> None:
    rules = book(tmp_path)
    assert take(rules, stored(("hot", WARM.replace("warm", "hot")), ("odd", "when: 1"), ("other", WARM))) == ["hot"]
    assert [mistake for mistake in rules.mistakes_of_api if "the file rules.yaml has a rule of that name" in mistake]
    assert [mistake for mistake in rules.mistakes_of_api if "calls itself warm" in mistake]
    assert len(rules.mistakes_of_api) >= 3


def test_a_rule_that_the_file_takes_over_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rules = book(tmp_path)
    given = stored(("warm", WARM))
    take(rules, given)
    rules.warn_of_taken_over()
    assert caplog.records == []

    written(tmp_path, HOT.replace("hot", "warm"))
    rules.take_file(rules.load())
    for _ in range(2):
        rules.warn_of_taken_over()

    [warned] = caplog.records
    assert (warned.levelname, vars(warned)["rule"]) == ("WARNING", "warm")
    assert rules.taken_over == ["warm"] and len(rules.rules) == 1


def test_one_rule_is_read_as_yaml_and_as_json() -> None:
    for text in (WARM, '{"name": "warm", "when": "data.celsius > 30"}', '\n {"name": "warm",\n "when": "true"}\n'):
        assert parse_one(text).name == "warm"
    for text in ("", "[]", "- a", "{}", "{", WARM + "---\n" + WARM, '{"name": "a"}, {"name": "b"}', "rules: []", "\0"):
        with pytest.raises(BadRules):
            parse_one(text)
