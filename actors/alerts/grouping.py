"""Makes one alert of many: those of a rule whose group is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from actors.alerts.conditions import NS
from actors.alerts.episodes import alert_id
from actors.alerts.rules import Group, Rule
from actors.alerts.signals import Kind, Signal
from router.event import Event

# Of the keys in a group, so many are named.
MAX_NAMED = 100


@dataclass(slots=True)
class Gathering:
    """The alerts of one group. Times are ns since the epoch."""

    key: str
    members: dict[str, None] = field(default_factory=dict)
    began: str = ""  # the alert of its first member
    pending: int | None = None  # since when it waits to be raised
    alert: str | None = None
    since: int = 0
    told: int | None = None
    grown: bool = False  # members came since it was last said
    scope: dict[str, Any] = field(default_factory=dict)
    scheduled: int | None = None


class Groups:
    """The groups of one rule: raised `wait` after their first member, said again where they grew, ended with their last."""

    def __init__(self, rule: Rule, group: Group, schedule: Callable[[Groups, Gathering, int], None]) -> None:
        self.rule = rule
        self.found: dict[str, Gathering] = {}
        self._of: dict[str, str] = {}
        self._wait = round(group.wait * NS)
        self._interval = round(group.interval * NS)
        self._schedule = schedule

    def take(self, signal: Signal, out: list[Signal]) -> None:
        """Takes what one member says."""
        if signal.kind == "resolved":
            self._leave(signal, out)
            return
        key = str(signal.scope.get("group") or "")
        if self._of.setdefault(signal.key, key) != key:
            # It says another group than it did: it stays where it was until it ends.
            key = self._of[signal.key]
        group = self.found.setdefault(key, Gathering(key))
        group.scope = dict(signal.scope)
        if signal.key not in group.members:
            group.members[signal.key] = None
            group.grown = True
            group.began = group.began or signal.alert
            if group.alert is None and group.pending is None:
                group.pending = signal.at
        self._decide(group, signal.at, signal.event, out)

    def lapse(self, group: Gathering, at: int, out: list[Signal]) -> None:
        """Takes a moment that was due."""
        group.scheduled = None
        if self.found.get(group.key) is group:
            self._decide(group, at, None, out)

    def alive(self, group: Gathering, due: int) -> bool:
        """Whether a timer still means something."""
        return group.scheduled == due and self.found.get(group.key) is group

    def drop(self, group: Gathering) -> None:
        """Forgets a group without a word, because it cannot be ended."""
        self.close(group.key)

    def _due(self, group: Gathering) -> int | None:
        if group.alert is None:
            return None if group.pending is None else group.pending + self._wait
        return (group.told or 0) + self._interval if group.grown else None

    def _decide(self, group: Gathering, at: int, event: Event | None, out: list[Signal]) -> None:
        due = self._due(group)
        if due is not None and at >= due:
            kind: Kind = "again"
            if group.alert is None:
                kind, group.since = "firing", at
                group.alert = alert_id(self.rule.name, group.key, group.began)
            group.told, group.pending, group.grown = at, None, False
            out.append(self._signal(kind, group, at, event, None))
            due = None
        if due is not None and (group.scheduled is None or due < group.scheduled):
            group.scheduled = due
            self._schedule(self, group, due)

    def _leave(self, signal: Signal, out: list[Signal]) -> None:
        group = self.found.get(self._of.pop(signal.key, ""))
        if group is None:
            return
        group.members.pop(signal.key, None)
        if not group.members:
            del self.found[group.key]
            if group.alert:
                out.append(self._signal("resolved", group, signal.at, signal.event, signal.reason))

    def _signal(self, kind: Kind, group: Gathering, at: int, event: Event | None, reason: str | None) -> Signal:
        named = tuple(group.members)[:MAX_NAMED]
        count = len(group.members)
        scope = {**group.scope, "count": count}
        value, alert = group.scope.get("value"), group.alert or ""
        made = Signal(kind, self.rule, group.key, at, event, value, scope, count, reason, alert, group.since)
        return replace(made, members=named)

    def adopt(self, key: str, alert: str, since: int, told: int | None) -> None:
        """Takes up a group's alert that fires, as it was stored; its members are not known."""
        group = self.found.setdefault(key, Gathering(key))
        group.alert, group.since, group.told, group.pending = alert, since, told, None

    def close(self, key: str) -> list[str]:
        """Forgets a group and returns its members."""
        group = self.found.pop(key, None)
        members = list(group.members) if group else []
        for member in members:
            self._of.pop(member, None)
        return members

    def dump(self) -> dict[str, Any]:
        """All groups as JSON."""
        names = ("members", "began", "pending", "alert", "since", "told", "grown", "scope")
        return {
            key: {name: list(value) if name == "members" else value for name in names if (value := getattr(each, name))}
            for key, each in self.found.items()
        }

    def load(self, raw: dict[str, Any]) -> None:
        """Takes what `dump` wrote. Raises ValueError, TypeError or LookupError."""
        for key, each in raw.items():
            group = self.found[key] = Gathering(key, members=dict.fromkeys(map(str, each.get("members", ()))))
            self._of |= dict.fromkeys(group.members, key)
            group.began, group.alert, group.scope = (
                each.get("began", ""),
                each.get("alert"),
                dict(each.get("scope", {})),
            )
            group.since, group.grown = int(each.get("since", 0)), bool(each.get("grown", False))
            group.pending, group.told = each.get("pending"), each.get("told")
            if (due := self._due(group)) is not None:
                group.scheduled = due
                self._schedule(self, group, due)
