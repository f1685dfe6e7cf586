"""Alerts that the version before kept in its events only go on, and are taken over once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.alerts.actor import Alerts, AlertsSettings
from actors.alerts.takeover import DONE, PastAlerts, read, take_over
from router.alert_store import AlertStore
from router.alerts import AlertRecord, act, alert_id, entry_key
from router.broker import Broker
from router.clock import wall
from router.codec import rfc3339
from router.event import Event
from router.nats.bucket import Bucket
from router.topology import ALERTS
from tests.actors.alerts.readings import START, S
from tests.actors.system.running import events_under, running_actor
from tests.waiting import eventually

WEEK = 7 * 86_400 * S


def past(
    state: str = "firing",
    alert: str = "hot-1",
    at: int = START,
    *,
    rule: str = "hot",
    key: str = "metric.a",
    **more: Any,
) -> Event:
    """What that version published, at a time in ns; its cause was a second earlier."""
    data = {
        "rule": rule,
        "alert": alert,
        "key": key,
        "severity": "warning",
        "category": "general",
        "title": "a is hot",
        "message": "91 degrees",
        "entity": "a",
        "value": 91,
        "count": 3,
        "since": rfc3339(at - 60 * S),
        "told": rfc3339(at),
        "actions": [{"label": "Look", "url": "/a"}],
        "audience": ["alice"],
        "cause_subject": "metric.a.temperature",
        "cause_id": "cause-1",
        "cause_time": rfc3339(at - S),
    }
    data |= {"reason": "resolve_when"} if state == "resolved" else {}
    return Event.new(f"alert.{rule}.{state}", data | more, source="alerts", time_ns=at)


def folded(events: Iterable[Event], now: int = START, **bounds: int) -> list[AlertRecord]:
    found = PastAlerts(**bounds)
    for event in events:
        found.take(event)
    return found.records(now)


def brief(records: Iterable[AlertRecord]) -> list[tuple[str, str, str]]:
    return [(each.key, each.began, each.state) for each in records]


def test_a_record_says_what_the_event_said_under_the_name_of_the_same_episode() -> None:
    record = read(past(test=True))
    assert record is not None
    assert (record.id, record.began) == (alert_id("hot", "metric.a", "hot-1"), "hot-1")
    assert (record.state, record.severity, record.title, record.value, record.count) == (
        "firing",
        "warning",
        "a is hot",
        91,
        3,
    )
    assert (record.since, record.told, record.cause_time) == (START - 60 * S, START, START - S)
    assert record.audience == ("alice",) and record.actions[0]["label"] == "Look" and record.outbox == ()

    ended = read(past("resolved"))
    assert ended is not None and (ended.state, ended.reason, ended.ended) == ("resolved", "resolve_when", START - S)
    quiet = read(past("resolved", reason="resolve_after"))
    assert quiet is not None and quiet.ended == START


def test_the_newest_episode_of_each_key_is_taken_and_what_has_ended_long_ago_is_not() -> None:
    events = [
        past(alert="1"),
        past(key="metric.b", alert="2"),
        past("resolved", alert="1"),
        past(alert="1"),  # said again after its end
        past(key="metric.b", alert="3"),
        past("resolved", key="metric.b", alert="2"),  # the end of an older one
        past(key="metric.c", alert="4", at=START - 2 * WEEK),
        past("resolved", key="metric.d", alert="5", at=START - 2 * WEEK),
    ]

    assert brief(folded(events)) == [
        ("metric.b", "3", "firing"),
        ("metric.c", "4", "firing"),
        ("metric.a", "1", "resolved"),
    ]


def test_what_today_has_told_of_an_alert_is_not_taken_over() -> None:
    today = Event.new("alert.hot.acknowledged", {"rule": "hot", "key": "metric.a", "state": "acknowledged"})
    own = Event.new(today.subject, today.data, source="alerts")

    assert brief(folded([past(), own, past(key="metric.b")])) == [("metric.b", "hot-1", "firing")]
    assert brief(folded([past(), today])) == [("metric.a", "hot-1", "firing")], "others tell nothing of alerts"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.booleans()), max_size=30))
def test_what_fires_was_told_after_each_other_end_of_its_key(told: list[tuple[str, int, bool]]) -> None:
    events = [past("resolved" if ended else "firing", str(alert), key=key) for key, alert, ended in told]

    records = folded(events)

    assert {each.key for each in records} == {key for key, *_ in told}
    for record in records:
        place = (record.key, int(record.began), not record.is_active)
        assert place in told and len([each for each in records if each.key == record.key]) == 1
        if record.is_active:
            at = len(told) - 1 - told[::-1].index(place)
            assert not any(
                key == record.key and ended and str(alert) == record.began for key, alert, ended in told[at:]
            )


def test_of_too_many_the_ones_told_first_are_left_out() -> None:
    found = PastAlerts(firing=2, resolved=1)
    for n in range(4):
        found.take(past(key=f"k{n}"))
        found.take(past("resolved", key=f"r{n}"))

    assert [each.key for each in found.records(START)] == ["k2", "k3", "r3"] and found.left_out == 2


@pytest.mark.parametrize(
    "more",
    [
        {"alert": None},
        {"since": "today"},
        {"cause_time": "2027-01-15T08:00:00"},
        {"count": "3"},
        {"count": 2**70},
        {"audience": "alice"},
        {"message": "x" * 70_000},
        {"rule": "other"},
    ],
)
def test_an_event_that_nobody_can_have_told_is_passed_over(more: dict[str, Any]) -> None:
    odd = past()
    event = Event.new(odd.subject, {**odd.data, **more}, source="alerts", time_ns=START)

    assert read(event) is None and folded([event, past(key="metric.b")])


async def test_stored_alerts_are_taken_over_once_and_nothing_is_told_of_it(broker: Broker, entity: str) -> None:
    now, marks = wall.now_ns(), Bucket(broker.connection, ALERTS)
    await marks.delete(DONE)
    for event in (past(rule=entity, key=f"k{n}", at=now) for n in range(300)):
        await broker.publish(event)
    await broker.publish(past("resolved", rule=entity, key="k1", at=now))
    store = AlertStore(broker)
    kept = read(past(rule=entity, key="k2", alert="another", at=now))
    await store.change(entity, "k2", lambda _known: kept)

    assert await take_over(broker, store, now, 0) == 0, "there was no time, and nobody fails"
    assert entry_key(entity, "k0") not in store.known
    assert await take_over(broker, store, now, 30) >= 300
    assert await take_over(broker, store, now, 30) == 0

    records = {each.key: each for each in store.known.values() if each.rule == entity}
    assert len(records) == 300 and records["k1"].state == "resolved" and records["k0"].state == "firing"
    assert records["k2"].began == "another", "the bucket had one"
    assert await AlertStore(broker).find(records["k0"].id) == records["k0"]
    assert await broker.count(f"alert.{entity}.*", 0) == 301


async def test_the_rules_of_today_and_people_go_on_with_what_was_taken_over(
    broker: Broker, entity: str, tmp_path: Path
) -> None:
    file, now, rule = tmp_path / "rules.yaml", wall.now_ns(), entity.lower()
    file.write_text(
        f"rules:\n  - {{name: {rule}, subjects: [metric.{entity}.*], when: data.n > 5, cooldown: 0, resolve_after: 1h}}\n"
    )
    await Bucket(broker.connection, ALERTS).delete(DONE)
    key = f"metric.{entity}"
    for alert, at in ((key, now), ("quiet", now - 7200 * S), ("seen", now)):
        await broker.publish(past(rule=rule, key=alert, alert=alert, at=at, audience=[]))

    async def told(state: str) -> list[tuple[Any, ...]] | None:
        found = await events_under(broker, f"alert.{rule}.{state}")
        return [(each.data["key"], each.data.get("reason")) for each in found if "state" in each.data] or None

    async with running_actor(lambda: Alerts(AlertsSettings(rules_file=str(file))), broker, instance=entity):
        assert await eventually(lambda: told("resolved")) == [("quiet", "resolve_after")]
        await broker.publish(Event.new(f"metric.{entity}.reading", {"n": 6}))
        assert await eventually(lambda: told("firing")) == [(key, None)]
    store = AlertStore(broker)
    again = await store.find(alert_id(rule, key, key))
    assert again is not None and again.count == 4 and len(again.history) == 1

    def seen(known: AlertRecord | None) -> AlertRecord:
        assert known is not None
        return act(known, "acknowledge", "alice", wall.now_ns())

    acknowledged = await store.change(rule, "seen", seen)
    assert acknowledged is not None and acknowledged.state == "acknowledged"
