"""Feeds an engine with readings, and writes what it says briefly."""

from __future__ import annotations

from collections.abc import Iterable

from actors.alerts.engine import Engine, Signal
from actors.alerts.parser import parse
from router.event import Event
from tests.actors.alerts.readings import START, S

Told = tuple[str, float, str]


def engine(rule: str, keys: int = 10_000, name: str = "it") -> Engine:
    """An engine with one rule, or with several where they are written out."""
    text = rule if "rules:" in rule else f"rules:\n  - name: {name}\n    cooldown: 0\n    {rule}\n"
    return Engine(parse(text, "rules.yaml"), keys)


def event(at: float, host: str = "a", type: str = "reading", id: str | None = None, **data: object) -> Event:
    return Event.new(f"metric.{host}.{type}", data, time_ns=START + round(at * S), id=id)


def told(signals: Iterable[Signal]) -> list[Told]:
    """What was said, when in seconds since the start, and for which key or reason."""
    return [(each.kind, (each.at - START) / S, each.reason or each.key) for each in signals]


def fed(alerts: Engine, *events: Event, until: float | None = None) -> list[Told]:
    """What an engine says to events, and to the moment after them."""
    signals = [signal for each in events for signal in alerts.process(each)]
    if until is not None:
        signals += alerts.advance(START + round(until * S))
    return told(signals)
