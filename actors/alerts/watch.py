"""Watches events for one rule: an episode per dedup key, which waits, fires, says so again and ends."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.alerts.conditions import NS, Condition
from actors.alerts.rules import Rule
from actors.alerts.scope import Sight, key_of, scope_of, written
from actors.alerts.signals import Kind, Signal
from router.event import Event


@dataclass(slots=True)
class Episode:
    """One key that one rule watches. Times are ns since the epoch, as the events say them."""

    key: str
    memory: Any
    alert: str | None = None  # the id of the alert, while it fires
    since: int = 0
    last: int = 0  # the newest match
    told: int | None = None  # when it was last said that it fires
    count: int = 0  # matches since it fires
    began: str = ""  # the event with which the condition began to hold
    met: int | None = None  # since when a condition that holds for some time has held
    scope: dict[str, Any] = field(default_factory=dict)  # of the newest match, where a deadline may have to show it
    scheduled: int | None = None  # the timer that is set
    cause: tuple[object, ...] = ()  # subject, id and time of the event that an adopted alert was said with

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be forgotten with it but its cooldown."""
        return self.alert is None and self.met is None


def alert_id(rule: str, key: str, cause: str) -> str:
    """Names an alert after the event that began it, so that a second run gives it the same name."""
    digest = hashlib.sha256(f"{key}\n{cause}".encode()).hexdigest()
    return f"{rule}-{digest[:16]}"


class Watch:
    """One rule at work. What it says is appended to the list that each call is given."""

    def __init__(
        self, rule: Rule, condition: Condition, order: int, keys: int, schedule: Callable[[Watch, Episode, int], None]
    ) -> None:
        """`keys` bounds the episodes; `schedule` sets a timer that calls `lapse`."""
        self.rule = rule
        self.subjects = rule.subjects
        self.types = rule.types
        self.order = order
        self.episodes: OrderedDict[str, Episode] = OrderedDict()
        self.condition = condition
        self._keys = keys
        self._schedule = schedule
        self._hold = 0
        self._cooldown = round(rule.cooldown * NS)
        self._quiet = None if rule.resolve_after is None else round(rule.resolve_after * NS)

    def see(self, sight: Sight, out: list[Signal]) -> None:
        """Judges one event."""
        rule, seen = self.rule, sight.seen
        ends = rule.resolve_when is not None and rule.resolve_when.matches(seen)
        matched = not ends and rule.when.matches(seen)
        if not (matched or ends or self.condition.hears_misses):
            return
        key = key_of(rule, sight)
        episode = self.episodes.get(key)
        if episode is None:
            if not matched:
                return
            episode = self._open(key, sight, out)
        else:
            self.episodes.move_to_end(key)
            if episode.scheduled is not None and episode.scheduled < sight.at:
                self.lapse(episode, sight.at - 1, out)
        if ends:
            self.condition.reset(episode.memory)
            episode.met = None
            self._resolve(episode, sight.at, sight, "resolve_when", out)
            return
        if episode.cause and episode.cause == (str(sight.event.subject), sight.event.id, written(sight.event.time)):
            out.append(self._signal("firing", episode, sight.at, sight.event, scope_of(rule, sight), None))
            return
        met = self.condition.step(episode.memory, sight.at, matched, seen)
        if matched:
            episode.last = sight.at
            if episode.alert:
                episode.count += 1
        self._decide(episode, met, sight.at, sight if matched else None, sight, out)
        self._plan(episode)

    def lapse(self, episode: Episode, at: int, out: list[Signal]) -> None:
        """Takes all deadlines of an episode up to and with a moment, the earliest first."""
        episode.scheduled = None
        while (due := self._due(episode)) is not None and due <= at:
            if self._ends_quiet(episode) == due:
                self._resolve(episode, due, None, "resolve_after", out)
                continue
            met = self.condition.lapse(episode.memory, due)
            self._decide(episode, met, due, None, None, out)
        self._plan(episode)

    def end(self, episode: Episode, at: int, reason: str, out: list[Signal]) -> None:
        """Ends an episode for a reason that lies outside of its events."""
        self._resolve(episode, at, None, reason, out)
        self.episodes.pop(episode.key, None)

    def adopt(self, key: str, alert: str, since: int, told: int | None, last: int, count: int) -> None:
        """Takes up an alert that fires, as it was stored."""
        episode = self.episodes.get(key) or Episode(key, self.condition.begin())
        episode.alert, episode.since, episode.told, episode.last, episode.count = alert, since, told, last, count
        if self.condition.level and episode.met is None:
            episode.met = since
        self.episodes[key] = episode
        self._plan(episode)

    def close(self, key: str) -> None:
        """Forgets that the alert of a key fires."""
        episode = self.episodes.get(key)
        if episode is not None:
            self.condition.reset(episode.memory)
            episode.alert, episode.count, episode.met = None, 0, None

    def take_over(self, episode: Episode) -> None:
        """Takes up an episode of the rule as it was before a change: its alert, not what was counted."""
        if episode.alert and len(self.episodes) < self._keys:
            self.adopt(episode.key, episode.alert, episode.since, episode.told, episode.last, episode.count)

    def _open(self, key: str, sight: Sight, out: list[Signal]) -> Episode:
        if len(self.episodes) >= self._keys:
            # The one that was quiet for longest makes room.
            self.end(next(iter(self.episodes.values())), sight.at, "forgotten", out)
        episode = self.episodes[key] = Episode(key, self.condition.begin())
        return episode

    def _decide(
        self, episode: Episode, met: bool, at: int, match: Sight | None, by: Sight | None, out: list[Signal]
    ) -> None:
        """Says what follows from a condition that is met or not: `match` is the event that matched, `by` any event."""
        if not met:
            episode.met = None
            if self.condition.level and episode.alert:
                self._resolve(episode, at, by, "ended", out)
            return
        if self.condition.level:
            if episode.met is None:
                episode.met = at
                episode.began = by.mark if by else f"deadline\n{at}"
            if match is not None:
                episode.scope = scope_of(self.rule, match)
            if at - episode.met < self._hold:
                return
        if not self._rested(episode, at) or (episode.alert and match is None):
            return
        self._say(episode, at, match, by, out)

    def _say(self, episode: Episode, at: int, match: Sight | None, by: Sight | None, out: list[Signal]) -> None:
        kind: Kind = "again"
        if not episode.alert:
            kind = "firing"
            # A match by itself is named after the event, a state after the event with which it began.
            began = by.mark if by is not None and not self.condition.level else episode.began
            episode.alert = alert_id(self.rule.name, episode.key, began)
            episode.since = at
            episode.count = self.condition.count(episode.memory)
        episode.told = at
        scope = scope_of(self.rule, match) if match is not None else episode.scope
        out.append(self._signal(kind, episode, at, by.event if by else None, scope, None))

    def _signal(
        self, kind: Kind, episode: Episode, at: int, event: Event | None, scope: dict[str, Any], reason: str | None
    ) -> Signal:
        value = self.condition.value(episode.memory)
        if value is None:
            value = scope.get("value")
        scope = {**scope, "value": value, "count": episode.count} if scope else {}
        alert = episode.alert or ""
        return Signal(
            kind, self.rule, episode.key, at, event, value, scope, episode.count, reason, alert, episode.since
        )

    def _resolve(self, episode: Episode, at: int, by: Sight | None, reason: str, out: list[Signal]) -> None:
        if episode.alert is None:
            return
        scope = scope_of(self.rule, by) if by is not None else {}
        out.append(self._signal("resolved", episode, at, by.event if by else None, scope, reason))
        episode.alert = None
        episode.count = 0

    def _rested(self, episode: Episode, at: int) -> bool:
        """Whether the cooldown is over; measured both ways, so that one event from the future blocks nothing."""
        return episode.told is None or abs(at - episode.told) >= self._cooldown

    def _ends_quiet(self, episode: Episode) -> int | None:
        return episode.last + self._quiet if episode.alert and self._quiet is not None else None

    def _due(self, episode: Episode) -> int | None:
        """The next moment at which something may change without an event."""
        moments = [self._ends_quiet(episode), self.condition.due(episode.memory)]
        if episode.met is not None and episode.alert is None and self.condition.level:
            # It holds already, but neither long enough yet, or within the cooldown of the alert before.
            rested = episode.told + self._cooldown if episode.told is not None else 0
            moments.append(max(episode.met + self._hold, rested))
        return min((each for each in moments if each is not None), default=None)

    def _plan(self, episode: Episode) -> None:
        due = self._due(episode)
        if due is not None and (episode.scheduled is None or due < episode.scheduled):
            episode.scheduled = due
            self._schedule(self, episode, due)
