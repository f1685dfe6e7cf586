"""One alert of many."""

from __future__ import annotations

from actors.alerts.engine import Engine
from actors.alerts.parser import parse
from tests.actors.alerts.feeding import event, told

RULES = """
rules:
  - name: hot
    when: data.n > 80
    resolve_when: data.n < 70
    cooldown: 0
    title: "{count} hosts of {data.rack} are hot"
    group: {by: data.rack, wait: 10, interval: 60}
"""


def test_those_of_one_group_are_raised_together_and_end_with_the_last() -> None:
    alerts = Engine(parse(RULES, "x"))
    for at, host, rack in ((0, "a", "r1"), (5, "b", "r1"), (6, "c", "r2")):
        assert alerts.process(event(at, host, n=90, rack=rack)) == []

    first, second = alerts.advance(event(20).time)
    assert told([first, second]) == [("firing", 10, "r1"), ("firing", 16, "r2")]
    assert first.members == ("metric.a", "metric.b") and first.count == 2
    assert first.rule.title.fill(first.scope, 99) == "2 hosts of r1 are hot"

    assert alerts.process(event(21, "a", n=60, rack="r1")) == []
    [ended] = alerts.process(event(22, "b", n=60, rack="r1"))
    assert (ended.kind, ended.key, ended.alert, ended.reason) == ("resolved", "r1", first.alert, "resolve_when")


def test_a_group_that_grew_says_so_again_after_the_interval() -> None:
    alerts = Engine(parse(RULES, "x"))
    alerts.process(event(0, "a", n=90, rack="r"))
    alerts.advance(event(10).time)

    alerts.process(event(20, "b", n=90, rack="r"))
    assert told(alerts.advance(event(69).time)) == []
    assert told(alerts.advance(event(70).time)) == [("again", 70, "r")]
    assert alerts.advance(event(999).time) == []


def test_one_that_ended_within_the_wait_is_not_raised() -> None:
    alerts = Engine(parse(RULES, "x"))
    alerts.process(event(0, "a", n=90, rack="r"))
    alerts.process(event(5, "a", n=60, rack="r"))

    assert alerts.advance(event(99).time) == []


def test_a_group_goes_on_after_a_restart_and_begins_anew_once_it_was_closed() -> None:
    alerts = Engine(parse(RULES, "x"))
    alerts.process(event(0, "a", n=90, rack="r"))
    again = Engine(parse(RULES, "x"))
    assert again.restore(alerts.state()) == 0

    assert told(again.advance(event(99).time)) == [("firing", 10, "r")]
    again.close("hot", "r")
    again.process(event(100, "a", n=90, rack="r"))
    assert told(again.advance(event(110).time)) == [("firing", 110, "r")]
