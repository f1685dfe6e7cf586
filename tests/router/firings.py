"""Alerts for tests: what a rule finds, and a store that has some."""

from __future__ import annotations

from router.alert_store import AlertStore
from router.alerts import AlertRecord, Firing, fire
from router.broker import Broker
from router.clock import wall
from router.event import Event


def found(rule: str, key: str = "k", **more: object) -> Firing:
    """What a rule finds now; `more` are other fields of it."""
    now = wall.now_ns()
    cause = Event.new("metric.lab.temperature", {"celsius": 91}, time_ns=now)
    said = {"severity": "warning", "category": "general", "entity": "lab", "title": "hot", "at": now, **more}
    return Firing(rule=rule, key=key, cause=cause, **said)  # type: ignore[arg-type]


async def raised(broker: Broker, rule: str, key: str = "k", **more: object) -> AlertRecord:
    """An alert that fires, stored and told."""
    firing = found(rule, key, **more)
    record = await AlertStore(broker).change(rule, key, lambda known: fire(known, firing, wall.now_ns()))
    assert record is not None
    return record
