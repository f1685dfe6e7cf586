"""The same rules over the same events say the same: live, in a back-test, in any order of delivery, across a restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.backtest import BacktestReport, backtest, history
from actors.alerts.engine import Engine, Signal
from actors.alerts.parser import parse
from router.broker import Broker
from router.clock import wall
from router.event import Event
from tests.actors.alerts.day import LATENESS, RULES, H, Must, day, delivered
from tests.actors.alerts.feeding import event
from tests.actors.alerts.readings import HOT, START, S

Rules = parse(RULES, "rules.yaml")
EVENTS, MUST = day()
END = START + round((24 * H + 60) * S)


def live(events: Iterable[tuple[int, Event]], end: int = END, restart_at: int | None = None) -> list[Signal]:
    """What an engine says to events as they come; it is replaced by one that restores its state at an event."""
    engine, said = Engine(Rules), []
    for place, (at, each) in enumerate(events):
        if place == restart_at:
            state = json.loads(json.dumps(engine.state()))
            engine = Engine(Rules)
            assert engine.restore(state) == 0
        said += engine.advance(at)
        said += engine.process(each)
    return said + engine.advance(end)


def brief(said: Iterable[Signal]) -> list[tuple[object, ...]]:
    return [(each.at, each.kind, each.rule.name, each.key, each.alert, each.count, each.reason) for each in said]


async def stream(events: Iterable[Event]) -> AsyncIterator[Event]:
    for each in events:
        yield each


def musts(said: Iterable[Signal]) -> list[Must]:
    return sorted(
        Must((each.at - START) / S, each.kind, each.rule.name, each.key) for each in said if each.kind != "again"
    )


async def test_a_generated_day_fires_live_and_in_a_back_test_what_it_must_to_the_event() -> None:
    come = delivered(EVENTS, 1)
    assert [each for _, each in come] != EVENTS

    said = live(come)
    report = await backtest(Rules, stream(each for _, each in come), until=END, now=END)

    assert musts(said) == MUST
    fired = [Must((each.at - START) / S, "firing", each.rule, each.key) for each in report.fired]
    ended = [
        Must((each.resolved - START) / S, "resolved", each.rule, each.key)
        for each in report.fired
        if each.resolved is not None
    ]
    assert sorted(fired + ended) == MUST
    firing = [each for each in said if each.kind == "firing"]
    assert [(each.alert, each.at) for each in report.fired] == [(each.alert, each.at) for each in firing]
    assert report.signals == len(said) and report.events == len(EVENTS) and not report.faults
    assert set(report.by_rule) == {each.rule for each in MUST} and report.total == len(firing)


@settings(max_examples=5, deadline=None)
@given(st.integers(2, 10**6), st.integers(0, len(EVENTS) - 1))
def test_neither_the_order_of_delivery_nor_a_restart_changes_what_the_day_fires(seed: int, cut: int) -> None:
    assert musts(live(delivered(EVENTS, seed), restart_at=cut)) == MUST


TYPES = [name for rule in Rules for name in rule.types]
readings = st.lists(
    st.tuples(
        st.sampled_from(TYPES),
        st.integers(0, 400),
        st.sampled_from("ab"),
        st.sampled_from([10, 50, 90]),
        st.sampled_from(["up", "down"]),
        st.floats(0, LATENESS * 0.9),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(readings, st.data())
def test_any_events_in_any_order_within_the_lateness_fire_the_same_across_a_restart_at_any_point(
    made: list[tuple[str, int, str, int, str, float]], data: st.DataObject
) -> None:
    come = [
        (START + round((at + delay) * S), event(at, host, type, f"e{place}", n=n, s=s, site=s))
        for place, (type, at, host, n, s, delay) in enumerate(made)
    ]
    in_order = sorted(((each.time, each) for _, each in come), key=lambda each: each[0])
    as_they_came = sorted(come, key=lambda each: each[0])
    cut = data.draw(st.integers(0, max(0, len(made) - 1)))

    expected = brief(live(in_order, START + 20_000 * S))

    assert brief(live(as_they_came, START + 20_000 * S)) == expected
    assert brief(live(as_they_came, START + 20_000 * S, restart_at=cut)) == expected


async def test_an_event_behind_the_lateness_is_counted_and_judged_as_it_comes() -> None:
    events = [event(at, "h", "plain", n=50) for at in range(0, 200, 10)]
    late = event(100, "h", "plain", "late", n=99)

    report = await backtest(Rules, stream([*events, late]), now=END)

    assert report.late == 1
    assert [(each.rule, each.at, each.event) for each in report.fired] == [("plain", late.time, "late")]
    assert report.describe()["fired"][0]["resolved"] is None


async def test_what_alerts_say_themselves_is_left_out_and_the_progress_is_told() -> None:
    rules = parse("rules: [{name: all, when: 'true', cooldown: 0}]", "rules.yaml")
    own = Event.new("alert.all.firing", {"rule": "all"}, time_ns=START)
    seen: list[int] = []

    def told(report: BacktestReport) -> None:
        seen.append(report.events)

    report = await backtest(rules, stream([own] * 5 + [event(at) for at in range(2000)]), now=END, progress=told)

    assert report.events == 2000 and seen == [0, 1000, 2000] and report.total == 1
    assert report.fired[0].repeats == 1999 and report.fired[0].count == 2000


async def test_history_is_read_from_the_stream_page_by_page(broker: Broker, entity: str) -> None:
    rules = parse(HOT.replace("cooldown", f"subjects: metric.{entity}.*\n    cooldown"), "rules.yaml")
    now = wall.now_ns() // S * S - 3600 * S
    for n in range(300):
        await broker.publish(Event.new(f"metric.{entity}.temperature", {"celsius": n}, time_ns=now + n * S))
    since = datetime.fromtimestamp((now + 50 * S) / 1e9, UTC)
    until = datetime.fromtimestamp((now + 250 * S) / 1e9, UTC)

    report = await backtest(rules, history(broker, rules, since, until))

    assert report.events == 201
    [fired] = report.fired
    assert (fired.rule, fired.at, fired.entity) == ("hot", now + 81 * S, entity)
    nothing = history(broker, [], since)
    assert [each async for each in nothing] == []


@pytest.mark.parametrize("field", ["rule", "key", "at", "resolved", "event", "title"])
async def test_a_report_says_what_an_alert_would_have_been(field: str) -> None:
    report = await backtest(parse(HOT, "rules.yaml"), stream([event(0, celsius=90)]))

    assert field in report.describe()["fired"][0]
