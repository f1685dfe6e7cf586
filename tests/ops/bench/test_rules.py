"""The rules that the alert engine is measured with."""

from __future__ import annotations

from actors.alerts.parser import parse
from ops.bench.rules import FITTING, events_a_second, rules_text


def test_ten_rules_look_at_each_event_and_each_has_an_expression_of_its_own() -> None:
    rules = parse(rules_text(100), "rules.yaml")

    assert len({rule.when.text for rule in rules}) == 100
    assert sum("metric.host-3.*" in rule.subjects for rule in rules) == FITTING
    assert events_a_second(rules, 100, 95.0) > 0
