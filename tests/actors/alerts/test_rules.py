"""The rules file: what it may contain, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.actor import SHIPPED
from actors.alerts.rules import BadRules, Severity, parse, read

FULL = """
rules:
  - name: hot
    subjects: metric.*.temperature
    when: data.celsius > 80
    severity: critical
    category: hardware
    title: "{entity} is hot"
    message: "{value} degrees"
    entity: data.host
    key: "{data.host}/{data.sensor}"
    value: data.celsius
    threshold: {count: 3, within: 10}
    cooldown: 30
    resolve_when: data.celsius < 70
    resolve_after: 600
    actions:
      - {label: Show, url: "https://example.org/hosts/{entity}"}
      - {label: Cool, command: "fan.{entity}.faster"}
    audience: [operators, "team:render"]
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(BadRules) as fault:
        parse(text, "rules.yaml")
    return [str(mistake) for mistake in fault.value.mistakes]


def rule(*lines: str) -> str:
    return "rules:\n  - " + "\n    ".join(("name: it", *lines))


def test_the_rules_that_are_shipped_are_right() -> None:
    names = [each.name for each in read(SHIPPED)]

    assert {"run_failed", "render_failed", "camera_failed", "webhook_dead_letter", "webhook_disabled"} <= set(names)


def test_a_rule_says_all_that_it_may_say() -> None:
    (hot,) = parse(FULL, "rules.yaml")

    assert (hot.name, hot.severity, hot.category) == ("hot", Severity.CRITICAL, "hardware")
    assert (hot.count, hot.within, hot.cooldown, hot.resolve_after) == (3, 10, 30, 600)
    assert hot.subjects == ("metric.*.temperature",)
    assert hot.audience == ("operators", "team:render")
    assert hot.describe()["actions"][1] == {"label": "Cool", "command": "fan.{entity}.faster"}


def test_a_rule_needs_only_a_name_and_a_when() -> None:
    (plain,) = parse(rule("when: data.success == false"), "rules.yaml")

    assert (plain.count, plain.cooldown, plain.severity, plain.subjects) == (1, 60, Severity.WARNING, (">",))


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules:\n", "rules: []\n"])
def test_a_file_without_rules_is_no_mistake(text: str) -> None:
    assert parse(text, "rules.yaml") == ()


def test_all_mistakes_are_told_at_once_with_file_rule_and_reason() -> None:
    told = mistakes(
        """
rules:
  - name: one
    when: data.a ==
    severty: info
    title: "{entty}"
    cooldown: soon
  - name: two
    when: foo
    threshold: {count: 0, within: 5}
    severity: fatal
  - 7
  - name: one
    when: "true"
other: 1
"""
    )

    assert any(text.startswith("rules.yaml: one: when: line 1, column 10: Syntax error") for text in told)
    assert "rules.yaml: one: severty: is not a field; is severity meant?" in told
    assert any(text.startswith("rules.yaml: one: title: unknown variable {entty}") for text in told)
    assert "rules.yaml: one: cooldown: must be a number" in told
    assert any(text.startswith("rules.yaml: two: when: line 1, column 1: unknown variable 'foo'") for text in told)
    assert "rules.yaml: two: threshold.count: must be between 1 and 100" in told
    assert "rules.yaml: two: severity: must be info, warning, critical" in told
    assert "rules.yaml: rule 3: must be a map with name, when and title" in told
    assert "rules.yaml: one: name: there is another rule of that name" in told
    assert "rules.yaml: other is not a field" in told
    assert len(told) == 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2", "is not YAML"),
        ("just text", "must be a map with a list called rules"),
        ("rules: {a: 1}", "must be a map with a list called rules"),
        ("rules: []\nrules: []", "rules is written twice"),
        ("[" * 20_000, "is not YAML"),
        ("rules: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("rules:\n" + "  - {name: a, when: 'true'}\n" * 501, "has 501 rules"),
        ("rules:\n  - when: 'true'", "rule 1: name: is missing"),
        ("rules:\n  - name: Bad Name\n    when: 'true'", "beginning with a letter"),
        (rule(), "when: is missing"),
        (rule("when: true"), "must be a text; put it in quotes"),
        (rule("when: 'true'", "threshold: 3"), "must be a map with count and within"),
        (rule("when: 'true'", "threshold: {count: 3}"), "needs count and within"),
        (rule("when: 'true'", "threshold: {count: 1.5, within: 3}"), "whole number"),
        (rule("when: 'true'", "cooldown: .nan"), "must be a number"),
        (rule("when: 'true'", "cooldown: true"), "must be a number"),
        (rule("when: 'true'", "resolve_after: 0"), "must be between 1"),
        (rule("when: 'true'", "subjects: ['a.>.b']"), "pattern"),
        (rule("when: 'true'", "subjects: []"), "is empty"),
        (rule("when: 'true'", "audience: ['a b']"), "use letters"),
        (rule("when: 'true'", "actions: 1"), "must be a list"),
        (rule("when: 'true'", "actions: [{label: a}]"), "either url or command"),
        (rule("when: 'true'", "actions: [{label: a, url: 'javascript:alert(1)'}]"), "must begin with /"),
        (rule("when: 'true'", "actions: [{label: a, url: '{data.url}'}]"), "must begin with /"),
        (rule("when: 'true'", "actions: [{label: a, url: 'https://{data.host}/'}]"), "must begin with /"),
        (rule("when: 'true'", "actions: [{label: a, url: '//evil/'}]"), "must begin with /"),
        (rule("when: 'true'", "resolve_when: ''"), "resolve_when: the expression is empty"),
    ],
)
def test_a_mistake_is_told_by_its_reason(text: str, reason: str) -> None:
    assert any(reason in told for told in mistakes(text))


def test_a_file_that_cannot_be_read_or_is_too_long_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match="cannot be read"):
        read(tmp_path / "none.yaml")
    (tmp_path / "long.yaml").write_text("#" * 300_000)
    with pytest.raises(BadRules, match="larger than"):
        read(tmp_path / "long.yaml")


def test_a_document_that_unfolds_without_end_is_refused_quickly() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
    )

    assert any("is not a field" in told for told in mistakes(bomb + "rules: []"))


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=100)))
def test_no_file_brings_the_reader_down(text: str | bytes) -> None:
    try:
        parse(text, "rules.yaml")
    except BadRules as fault:
        assert fault.mistakes


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("name", "when", "subjects", "severity", "title", "key", "value", "threshold"),
                "actions",
                "audience",
                "cooldown",
            ]
        ),
        plain,
    )
)
def test_no_field_brings_the_reader_down(entry: dict[str, object]) -> None:
    import yaml

    try:
        parse(yaml.safe_dump({"rules": [entry]}), "rules.yaml")
    except BadRules as fault:
        assert fault.mistakes
