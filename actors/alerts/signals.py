"""Defines what the engine says: a signal is one change of one alert, and a fault is a rule that failed at an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from actors.alerts.rules import Rule
from router.event import Event

Kind = Literal["firing", "again", "resolved"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One change of the alert of one rule and key.

    `firing` opens an alert, `again` says that it still fires (at most once per cooldown), `resolved` ends it. `at` and
    `since` are ns since the epoch, as the events say them. `alert` names the alert: the same after a second run over the
    same events. `event` is what led to the signal, None where a deadline did. `scope` is what templates of the rule read,
    of the newest matching event; empty for a resolved alert that no event ended. `count` is how many matches the alert has.
    `reason` is said of a resolved one only: resolve_when, resolve_after, ended, forgotten or rule_removed.
    """

    kind: Kind
    rule: Rule
    key: str
    at: int
    event: Event | None
    value: Any
    scope: Mapping[str, Any]
    count: int
    reason: str | None = None
    alert: str = ""
    since: int = 0
    members: tuple[str, ...] = field(default=())


class Fault(NamedTuple):
    """A rule that failed; `event` is None where it failed at a deadline."""

    rule: str
    event: Event | None
    error: Exception
