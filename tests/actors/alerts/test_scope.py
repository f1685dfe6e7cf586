"""What texts can show of an event."""

from __future__ import annotations

from actors.alerts.parser import parse
from actors.alerts.scope import Sight, identity, key_of, scope_of, written
from router.event import Event
from router.filter import activation
from tests.actors.alerts.readings import HOT


def sight(event: Event) -> Sight:
    return Sight(event, activation(event), event.time, identity(event))


def test_an_event_of_any_time_can_be_shown() -> None:
    assert written(0) == "1970-01-01T00:00:00.000000Z"
    assert written(10**30).startswith("9999-12-31") and written(-(10**30)).startswith("0001-01-01")


def test_the_dedup_key_is_domain_and_entity_unless_the_rule_says_otherwise() -> None:
    (plain,) = parse(HOT, "rules.yaml")
    (labelled,) = parse(HOT + '    entity: "{data.room}"\n', "rules.yaml")
    event = Event.new("metric.a=2Eb.temperature", {"celsius": 90, "room": "cellar"})

    assert key_of(plain, sight(event)) == "metric.a.b"
    assert key_of(labelled, sight(event)) == "cellar"
    assert scope_of(labelled, sight(event))["value"] == 90
