"""Tests of rules, written beside them."""

from __future__ import annotations

import pytest

from actors.alerts.parser import parse
from actors.alerts.rules import BadRules
from actors.alerts.ruletests import BEGINNING, moment, read_events, read_tests, run_test
from tests.actors.alerts.readings import HOT

TESTS = """
tests:
  - name: hot and cold
    events:
      - {at: 0s, subject: metric.lab-1.temperature, data: {celsius: 91}}
      - {at: 61s, subject: metric.lab-1.temperature, data: {celsius: 92}}
      - {at: 2m, subject: metric.lab-1.temperature, data: {celsius: 50}}
    until: 10m
    expect:
      - {at: 0s, rule: hot, key: metric.lab-1, value: 91, title: lab-1 is hot}
      - {at: 7m1s, rule: hot, kind: resolved, reason: resolve_after}
"""
RULES = HOT + "    resolve_after: 6m\n"


def test_a_test_that_is_right_differs_in_nothing() -> None:
    (test,) = read_tests(RULES + TESTS, "rules.yaml")

    assert run_test(parse(RULES + TESTS, "rules.yaml"), test) == []


def test_a_second_failure_within_the_cooldown_fires_in_a_test_as_it_does_live() -> None:
    text = """
rules: [{name: hot, when: data.celsius > 80, resolve_when: data.celsius < 70, value: data.celsius}]
tests:
  - events:
      - {at: 0s, subject: metric.lab-1.temperature, data: {celsius: 91}}
      - {at: 5s, subject: metric.lab-1.temperature, data: {celsius: 60}}
      - {at: 10s, subject: metric.lab-1.temperature, data: {celsius: 95}}
    expect:
      - {at: 0s, rule: hot, value: 91}
      - {at: 5s, rule: hot, kind: resolved}
      - {at: 10s, rule: hot, value: 95, count: 1}
"""
    (test,) = read_tests(text, "rules.yaml")

    assert run_test(parse(text, "rules.yaml"), test) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("value: 91", "value: 90"), "value is another"),
        (("at: 7m1s", "at: 7m2s"), "at is another"),
        (("at: 0s, rule: hot", "at: 0s, rule: cold"), "rule is another"),
        (("      - {at: 7m1s, rule: hot, kind: resolved, reason: resolve_after}\n", ""), "was not expected"),
        (("until: 10m", "until: 3m"), "did not happen: at: 7m1s"),
        (("kind: resolved, reason: resolve_after", "kind: again"), "but"),
    ],
)
def test_each_difference_is_told(change: tuple[str, str], said: str) -> None:
    (test,) = read_tests(RULES + TESTS.replace(*change), "rules.yaml")

    assert any(said in each for each in run_test(parse(RULES, "rules.yaml"), test))


def test_events_come_from_a_file_of_json_lines_as_tail_writes_them() -> None:
    lines = [
        '{"id": "1", "event_type": "temperature", "subject": "metric.lab-1.temperature", "source": "x", '
        '"timestamp": "2027-05-01T10:00:00.000000Z", "data": {"celsius": 99}, "cursor": "abc"}',
        "",
        '{"at": "2027-05-01T10:10:00Z", "subject": "metric.lab-1.temperature", "data": {"celsius": 9}}',
    ]
    events = read_events(lines, "events.jsonl")
    (test,) = read_tests(
        "tests: [{expect: [{at: '2027-05-01T10:00:00Z', rule: hot}, "
        "{at: 2027-05-01T10:06:00Z, rule: hot, kind: resolved}]}]",
        "x",
    )

    assert len(events) == 2 and events[0].id == "1"
    assert run_test(parse(RULES + "", "x"), test, events) in (
        [],
        ["expected and did not happen: at: 2027-05-01 10:06:00+00:00, rule: hot, kind: resolved"],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tests: 1", "must be a list"),
        ("tests: [1]", "test 1: must be a map"),
        ("tests: [{expekt: []}]", "x:1:10: test 1: expekt: is not a field; is expect meant?"),
        ("tests: [{events: [{subject: a}]}]", "needs 3 to 16"),
        ("tests: [{events: [{subject: a.b.c, dta: {}}]}]", "'dta' is not a field of an event; is data meant?"),
        ("tests: [{events: [{subject: a.b.c, at: soon}]}]", "no duration"),
        ("tests: [{expect: [{rule: a}]}]", "needs rule and at"),
        ("tests: [{expect: [{rule: a, at: 1, kind: fire}]}]", "is firing meant?"),
        ("tests: [", "is not YAML"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, reason: str) -> None:
    with pytest.raises(BadRules) as fault:
        read_tests(text, "x")

    assert reason in str(fault.value)


def test_each_bad_line_of_events_is_told() -> None:
    with pytest.raises(BadRules) as fault:
        read_events(['{"subject": "a.b.c"}', "{", "[]", '{"subject": "a"}'], "e.jsonl")

    assert [mistake.line for mistake in fault.value.mistakes] == [2, 3, 4]


def test_a_moment_is_a_duration_a_date_or_nanoseconds() -> None:
    assert moment("1m") == BEGINNING + 60 * 10**9 == moment(60)
    assert moment("2027-01-01T00:00:00Z") == BEGINNING == moment(BEGINNING)
    for bad in ("2027-01-01T00:00:00", None, True, "x", -1):
        with pytest.raises(ValueError):
            moment(bad)
