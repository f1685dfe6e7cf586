"""The rules file: what it may contain, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.actor import SHIPPED
from actors.alerts.parser import parse, parse_rule, read
from actors.alerts.rules import BadRules, Severity

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
    assert hot.describe()["threshold"] == {"count": 3, "within": 10}
    assert (hot.cooldown, hot.resolve_after) == (30, 600)
    assert hot.subjects == ("metric.*.temperature",)
    assert hot.audience == ("operators", "team:render")
    assert hot.describe()["actions"][1] == {"label": "Cool", "command": "fan.{entity}.faster"}


def test_a_rule_needs_only_a_name_and_a_when() -> None:
    (plain,) = parse(rule("when: data.success == false"), "rules.yaml")

    assert plain.describe()["threshold"]["count"] == 1
    assert (plain.cooldown, plain.severity, plain.subjects) == (60, Severity.WARNING, (">",))


def test_only_a_file_that_says_so_has_no_rules() -> None:
    assert parse("rules: []\n", "rules.yaml") == ()
    # As a file is while somebody writes it.
    for text in ("", "# nothing\n", "rules:\n", "tests: []\n"):
        with pytest.raises(BadRules, match=r"`rules: \[\]` says that there shall be none"):
            parse(text, "rules.yaml")


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

    assert any(text.startswith("rules.yaml:4:20: one: when: Syntax error") for text in told)
    assert "rules.yaml:5:5: one: severty: is not a field; is severity meant?" in told
    assert any(text.startswith("rules.yaml:6:12: one: title: unknown variable {entty}") for text in told)
    assert "rules.yaml:7:15: one: cooldown: 'soon' is no duration; write 30s, 5m, 2h or 1h30m" in told
    assert any(text.startswith("rules.yaml:9:11: two: when: unknown variable 'foo'") for text in told)
    assert "rules.yaml:10:24: two: threshold.count: must be between 1 and 100" in told
    assert "rules.yaml:11:15: two: severity: must be info, warning, critical" in told
    assert "rules.yaml: rule 3: must be a map with name, when and title" in told
    assert "rules.yaml:13:11: one: name: there is another rule of that name" in told
    assert "rules.yaml:15:1: other is not a field" in told
    assert len(told) == 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2", "is not YAML"),
        ("name: hot\nwhen: 'true'\n", "put `rules:` above it, and `- ` before its first field"),
        ("just text", "must be a map with a list called rules"),
        ("rules: {a: 1}", "must be a map with a list called rules"),
        ("rules: []\nrules: []", "rules is written twice"),
        ("[" * 20_000, "is not YAML"),
        ("rules: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("rules:\n" + "  - 1\n" * 10_001, "has 10001 rules"),
        ("rules:\n  - when: 'true'", "rule 1: name: is missing"),
        ("rules:\n  - name: Bad Name\n    when: 'true'", "beginning with a letter"),
        (rule(), "when: is missing"),
        (rule("when: true"), "must be a text; put it in quotes"),
        (rule("when: 'true'", "threshold: 3"), "must be a map with count and within"),
        (rule("when: 'true'", "threshold: {count: 3}"), "needs count and within"),
        (rule("when: 'true'", "threshold: {count: 1.5, within: 3}"), "whole number"),
        (rule("when: 'true'", "cooldown: .nan"), "must be a number"),
        (rule("when: 'true'", "cooldown: true"), "must be a number of seconds"),
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
        (rule("when: 'true'", "resolve_when: ''"), "resolve_when: is empty"),
    ],
)
def test_a_mistake_is_told_by_its_reason(text: str, reason: str) -> None:
    assert any(reason in told for told in mistakes(text))


CONDITIONS = [
    ("for: 1h30m", {"for": 5400}),
    ("rate: {over: 60s, above: 5}", {"rate": {"over": 60, "above": 5}}),
    ("rate: {over: 1m, of: data.n}\n    hysteresis: {fire_below: 5, resolve_above: 6}", {}),
    ("absence: 5m", {"absence": 300}),
    ("absence: {after: 300}", {"absence": 300}),
    ("change: {of: data.s, from: ok, to: down}", {"change": {"of": "data.s", "from": "ok", "to": "down"}}),
    ("change: {of: data.n, by_percent: 10, within: 5m}", {}),
    ("window: {of: data.n, fn: p95, over: 5m, above: 3}", {}),
    ("hysteresis: {of: data.n, fire_above: 80, resolve_below: 70}", {}),
    ("lateness: 5s", {"lateness": 5}),
    ("types: [progress]", {"types": ["progress"]}),
    ("group: {by: data.rack, wait: 30s}", {"group": {"by": "data.rack", "wait": 30, "interval": 300}}),
    ("enabled: false", {"enabled": False}),
]


@pytest.mark.parametrize(("text", "told"), CONDITIONS)
def test_every_condition_is_read_and_described_so_that_it_can_be_read_again(text: str, told: dict[str, object]) -> None:
    (made,) = parse(rule("when: 'true'", text), "rules.yaml")

    assert told.items() <= made.describe().items()
    again = {name: value for name, value in made.describe().items() if value is not None and name != "faults"}
    if again.get("threshold") or not made.hold:
        again.pop("for", None)
    if not again["resolve_after"] if "resolve_after" in again else True:
        again.pop("resolve_after", None)
    assert parse_rule(again).describe() == made.describe()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rate: {over: 60s}", "5:5: it: rate: needs either above or below"),
        ("rate: {over: 60s, above: 1, below: 2}", "needs either above or below"),
        ("rate: {over: 1h, above: 100}", "more than 10000 events"),
        ("rate: {above: 1}", "it: rate.over: is missing"),
        ("absence: soon", "3:14: it: absence: 'soon' is no duration"),
        ("absence: {for: 3}", "absence.for: is not a field"),
        ("change: {}", "change.of: is missing"),
        ("change: {of: data.x, within: 3}", "needs by or by_percent"),
        ("window: {of: data.x, fn: p96, over: 1m, above: 1}", "3:30: it: window.fn: must be"),
        ("window: 3", "must be a map with of, fn, over"),
        ("for: 5m\n    threshold: {count: 2, within: 3}", "for: cannot stand beside threshold"),
        ("rate: {over: 1, above: 1}\n    absence: 3", "4:5: it: absence: cannot stand beside rate"),
        ("hysteresis: {fire_above: 1}", "hysteresis.resolve_below: is missing"),
        ("hysteresis: {of: data.x, fire_above: 1, resolve_below: 2}", "must be at most fire_above"),
        ("hysteresis: {of: data.x, fire_above: 1, resolve_above: 2}", "cannot stand beside fire_above"),
        ("when: 'true'\n    inhibit: {by: other}", "there is no rule 'other'"),
        ("when: 'true'\n    inhibit: {by: itt}", "there is no rule 'itt'; is it meant?"),
        ("inhibit: {}", "needs by (names of rules), severity or category"),
        ("group: {by: data.x, wait: -1}", "must be between 0"),
        ("types: [Bad]", "is no event type"),
        ("enabled: maybe", "must be true or false"),
        ("lateness: 2d", "must be between 0 and 3600 seconds"),
    ],
)
def test_a_mistake_in_a_condition_is_told_with_its_place(text: str, reason: str) -> None:
    told = mistakes("rules:\n  - name: it\n    " + text)

    assert any(reason.removeprefix("5:5: ") in each for each in told), told
    assert all(each.startswith("rules.yaml:") for each in told)


def test_a_place_inside_of_an_expression_is_added_to_the_place_of_the_text() -> None:
    told = mistakes("rules:\n  - name: it\n    when: |\n\n      data.a == 1 &&\n        foo\n")
    assert told[0].startswith("rules.yaml:6:9: it: when: unknown variable 'foo'")

    told = mistakes("rules:\n  - name: it\n    when: 'data.a == ''x'' && foo'\n")
    assert told[0].startswith("rules.yaml:3:31: it: when: unknown variable 'foo'")


def test_a_rule_that_is_written_as_before_is_not_made_again() -> None:
    before = {each.name: each for each in parse(FULL, "rules.yaml")}
    (hot, cold) = parse(FULL + "  - {name: cold, when: data.celsius < 0}\n", "rules.yaml", before)

    assert hot is before["hot"]
    assert parse(FULL.replace("80", "81"), "rules.yaml", before)[0] is not before["hot"]
    assert cold.name == "cold"


def test_a_file_that_cannot_be_read_or_is_too_long_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match="cannot be read"):
        read(tmp_path / "none.yaml")
    (tmp_path / "long.yaml").write_text("#" * 9_000_000)
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
