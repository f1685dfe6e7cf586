"""Rules as values."""

from __future__ import annotations

from actors.alerts.parser import parse
from actors.alerts.rules import BadRules, Mistake


def test_a_mistake_says_file_line_column_rule_and_field() -> None:
    mistake = Mistake("rules.yaml", "hot", "is missing", "when", 3, 5)

    assert str(mistake) == "rules.yaml:3:5: hot: when: is missing"
    assert str(Mistake("", "hot", "is missing")) == "hot: is missing"
    assert mistake.describe()["line"] == 3
    assert str(BadRules([mistake, mistake])).count("\n") == 1


def test_a_rule_tells_what_its_texts_and_expressions_read() -> None:
    (rule,) = parse(
        'rules: [{name: a, when: data.x == 1, title: "{data.y.z}", value: data.v, '
        "actions: [{label: go, url: '/r/{entity}'}], entity: data.e}]",
        "rules.yaml",
    )

    assert rule.paths == {("data", "y", "z"), ("entity",)}
    assert {field for each in rule.expressions for field in each.needs.fields or ()} == {"x", "v", "e"}
