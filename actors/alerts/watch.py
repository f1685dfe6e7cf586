"""Watches events for one rule: an episode per dedup key, which waits, fires, says so again and ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from actors.alerts.conditions import NS
from actors.alerts.episodes import Episode, alert_id
from actors.alerts.grouping import Gathering, Groups
from actors.alerts.rules import ONCE, Rule
from actors.alerts.scope import Sight, key_of, scope_of, slim, written
from actors.alerts.signals import Kind, Signal


class Gate(Protocol):
    """What one rule's alerts mean to those of others, and what time it is (ns)."""

    @property
    def now(self) -> int: ...

    def hears(self, rule: str) -> bool: ...

    def holds(self, rule: str, key: str, labels: dict[str, str]) -> bool: ...

    def fired(self, rule: str, labels: dict[str, str]) -> None: ...

    def ended(self, rule: str, labels: dict[str, str], at: int, out: list[Signal]) -> None: ...


class Watch:
    """One rule at work. What it says is appended to the list that each call is given."""

    # Of 10,000 rules only ten are looked at for an event, which lie anywhere in memory: the less of it, the faster.
    __slots__ = (
        *("episodes", "groups", "lateness", "order", "rule", "subjects", "types"),
        *("_condition", "_cooldown", "_ends", "_gate", "_hold", "_inhibited", "_keeps", "_keys", "_level", "_plain"),
        *("_quiet", "_schedule", "_steps", "_timed", "_unsaid", "_when"),
    )

    def __init__(self, rule: Rule, keys: int, gate: Gate, schedule: Callable[[int, int, str, Any, Any], None]) -> None:
        """`keys` bounds the episodes; `schedule` sets a timer (moment, order, key, owner, item) that calls `lapse`."""
        self.rule = rule
        self.subjects = rule.subjects
        self.types = rule.types
        self.order = 0
        self.lateness = self.lateness_of(rule)
        self.episodes: OrderedDict[str, Episode] = OrderedDict()
        self._when, self._ends = rule.when, rule.resolve_when
        self.groups = Groups(rule, rule.group, self._schedule_group) if rule.group else None
        self._condition = rule.condition
        self._keys = keys
        self._gate = gate
        self._schedule = schedule
        self._hold = round(rule.hold * NS)
        self._cooldown = round(rule.cooldown * NS)
        self._quiet = None if rule.resolve_after is None else round(rule.resolve_after * NS)
        self._level = rule.condition.level
        # Whether a signal may be about an event that is no longer at hand.
        self._keeps = self._level or rule.group is not None
        self._inhibited = bool(rule.inhibit)
        # Whether there may be deadlines; whether the dedup key is the usual one.
        self._timed = self._level or self._quiet is not None
        # Whether each match is met by itself; whether one within the cooldown changes nothing but counts.
        self._steps = rule.condition is not ONCE
        self._unsaid = not self._level and rule.group is None
        self._plain = rule.key is None and rule.entity is None

    @staticmethod
    def lateness_of(rule: Rule) -> int:
        """How long events may be behind, in ns."""
        return round(rule.lateness * NS)

    def see(self, sight: Sight, out: list[Signal]) -> None:
        """Judges one event."""
        rule, context, condition, at = self.rule, sight.context, self._condition, sight.at
        matched = self._when.matches_in(context, sight.seen)
        ends = False
        if self._ends is not None and (matched or self.episodes):
            ends = self._ends.matches_in(context, sight.seen)
            matched = matched and (condition.compares or not ends)
        if not (matched or ends or condition.hears_misses):
            return
        key = sight.key if self._plain else key_of(rule, sight)
        episode = self.episodes.get(key)
        if episode is None:
            if not matched:
                return
            episode = self._open(key, at, out)
        else:
            if len(self.episodes) > 1:
                self.episodes.move_to_end(key)
            if episode.scheduled is not None and episode.scheduled < at:
                self.lapse(episode, at - 1, out)
        if ends:
            if matched:
                condition.step(episode.memory, at, True, sight.seen)
            self._resolve(episode, at, sight, "resolve_when", out)
            return
        if episode.cause and episode.cause == (str(sight.event.subject), sight.event.id, written(sight.event.time)):
            out.append(self._signal("firing", episode, at, sight, scope_of(rule, sight), None))
            return
        met = condition.step(episode.memory, at, matched, sight.seen) if self._steps else matched
        if self._level and not met and episode.alert is not None and self._met_again(episode):
            self._plan(episode)
            return
        if met if condition.compares else matched:
            if at > episode.last:
                episode.last = at
            if episode.alert is not None:
                episode.count += 1
                if self._unsaid and episode.told is not None and -self._cooldown < at - episode.told < self._cooldown:
                    # It fires, and this is not said: the usual case, for which nothing else has to be looked at.
                    return
        self._decide(episode, met, at, sight if matched else None, sight, out)
        if self._timed:
            self._plan(episode)

    def lapse(self, episode: Episode, at: int, out: list[Signal]) -> None:
        """Takes all deadlines of an episode up to and with a moment, the earliest first."""
        episode.scheduled = None
        while (due := self._due(episode)) is not None and due <= at:
            if self._quiet_end(episode) == due:
                self._resolve(episode, due, None, "resolve_after", out)
                continue
            self._decide(episode, self._condition.lapse(episode.memory, due), due, None, None, out)
        self._plan(episode)

    def alive(self, episode: Episode, due: int) -> bool:
        """Whether a timer still means something."""
        return episode.scheduled == due and self.episodes.get(episode.key) is episode

    def drop(self, episode: Episode) -> None:
        """Forgets an episode without a word, because it cannot be ended."""
        self.episodes.pop(episode.key, None)

    def end(self, episode: Episode, at: int, reason: str, out: list[Signal]) -> None:
        """Ends an episode for a reason that lies outside of its events, and forgets it."""
        self._resolve(episode, at, None, reason, out)
        self.episodes.pop(episode.key, None)

    def wake(self, key: str, at: int, out: list[Signal]) -> None:
        """Tells an episode that what inhibited it has ended; it fires if its condition still holds."""
        episode = self.episodes.get(key)
        if episode is not None and episode.held:
            episode.held = False
            self._decide(episode, episode.met is not None, at, None, None, out)
            self._plan(episode)

    def adopt(self, key: str, alert: str, since: int, told: int | None, last: int, count: int) -> Episode | None:
        """Takes up an alert that fires, as it was stored."""
        if self.groups is not None:
            self.groups.adopt(key, alert, since, told)
            return None
        episode = self.episodes.get(key)
        if episode is None:
            episode = Episode(key, self._condition.begin())
            self._condition.assume(episode.memory, last)
        episode.alert, episode.since, episode.told, episode.last, episode.count = alert, since, told, last, count
        if self._level and episode.met is None:
            episode.met = since
        self.episodes[key] = episode
        self._plan(episode)
        return episode

    def close(self, key: str, at: int, out: list[Signal]) -> None:
        """Forgets that the alert of a key fires, without a word about it."""
        for each in [key] if self.groups is None else self.groups.close(key):
            if (episode := self.episodes.get(each)) is not None:
                self._resolve(episode, max(at, episode.last), None, "closed", [], out)

    def take_over(self, other: Watch) -> None:
        """Takes up what another version of the rule knew: all of it where it watches the same, else what fires."""
        same = _counts(other.rule) == _counts(self.rule)
        for key, episode in list(other.episodes.items())[-self._keys :]:
            if not same and (episode.alert is None or self.groups is not None or other.groups is not None):
                continue
            if not same:
                episode.memory, episode.held = self._condition.begin(), False
                self._condition.assume(episode.memory, episode.last)
                episode.met = episode.since if self._level else None
            self.episodes[key] = episode
            episode.scheduled = None
            self._plan(episode)
        if same and self.groups is not None and other.groups is not None:
            self.groups.load(other.groups.dump())

    def restore(self, episode: Episode) -> None:
        """Takes up an episode that was stored."""
        self.episodes[episode.key] = episode
        self._plan(episode)

    def settle_held(self, at: int, out: list[Signal]) -> None:
        """Looks again at what inhibits its episodes, after they were taken up."""
        for episode in list(self.episodes.values()):
            if episode.held:
                self.wake(episode.key, at, out)

    def _open(self, key: str, at: int, out: list[Signal]) -> Episode:
        if len(self.episodes) >= self._keys:
            # The one that was quiet for longest makes room.
            self.end(next(iter(self.episodes.values())), at, "forgotten", out)
        episode = self.episodes[key] = Episode(key, self._condition.begin())
        return episode

    def _decide(
        self, episode: Episode, met: bool, at: int, match: Sight | None, by: Sight | None, out: list[Signal]
    ) -> None:
        """Says what follows from a condition that is met or not: `match` is the event that matched, `by` any event."""
        if not met:
            episode.met, episode.held = None, False
            if self._level and episode.alert:
                self._resolve(episode, at, by, "ended", out)
            elif self._level and match is not None and self.rule.condition.due(episode.memory) is not None:
                episode.scope = slim(self.rule, scope_of(self.rule, match))
            return
        if self._level:
            if episode.met is None:
                episode.met = at
                episode.began = by.mark if by else f"deadline\n{at}"
            if match is not None:
                episode.scope = slim(self.rule, scope_of(self.rule, match))
            if at - episode.met < self._hold:
                return
        if not self._rested(episode, at) or (episode.alert and match is None):
            return
        self._say(episode, at, match, by, out)

    def _say(self, episode: Episode, at: int, match: Sight | None, by: Sight | None, out: list[Signal]) -> None:
        rule = self.rule
        scope = episode.scope if match is None else scope_of(rule, match)
        if self._keeps and match is not None:
            scope = slim(rule, scope)
        labels = {"entity": str(scope.get("entity", "")), "key": episode.key}
        labels |= {"category": rule.category, "severity": rule.severity.value}
        if self._inhibited and self._gate.holds(rule.name, episode.key, labels):
            episode.held = self._level and episode.alert is None
            return
        kind: Kind = "again"
        if not episode.alert:
            kind = "firing"
            # A match by itself is named after its event, a state after the event with which it began.
            began = by.mark if by is not None and not self._level else episode.began
            episode.alert = alert_id(rule.name, episode.key, began)
            episode.since, episode.labels = at, labels
            episode.count = self._condition.count(episode.memory)
            self._gate.fired(rule.name, labels)
        episode.told, episode.held = at, False
        self._emit(self._signal(kind, episode, at, by, scope, None), out)

    def _emit(self, signal: Signal, out: list[Signal]) -> None:
        if self.groups is None:
            out.append(signal)
        else:
            self.groups.take(signal, out)

    def _signal(
        self, kind: Kind, episode: Episode, at: int, by: Sight | None, scope: dict[str, Any], reason: str | None
    ) -> Signal:
        value = self._condition.value(episode.memory)
        if value is None:
            value = scope.get("value")
        scope = {**scope, "value": value, "count": episode.count} if scope else {}
        event, alert = by.event if by else None, episode.alert or ""
        return Signal(
            kind, self.rule, episode.key, at, event, value, scope, episode.count, reason, alert, episode.since
        )

    def _resolve(
        self,
        episode: Episode,
        at: int,
        by: Sight | None,
        reason: str,
        out: list[Signal],
        woken: list[Signal] | None = None,
    ) -> None:
        """Ends the alert, if there is one, and what led to it; `woken` takes what others say for it, else `out` does."""
        signal = None
        if episode.alert is not None:
            scope = scope_of(self.rule, by) if by is not None else {}
            signal = self._signal("resolved", episode, at, by, scope, reason)
        if reason != "ended":
            # It would begin again at once, if what led to it were not forgotten.
            self._condition.reset(episode.memory)
        episode.met, episode.held, episode.alert, episode.count, episode.cause = None, False, None, 0, ()
        episode.told = None
        if signal is not None:
            self._emit(signal, out)
            if self._gate.hears(self.rule.name):
                self._gate.ended(self.rule.name, episode.labels, at, out if woken is None else woken)

    def _met_again(self, episode: Episode) -> bool:
        """Whether what an event has ended holds anew by now: one of the past, as of a producer whose clock is behind, ends nothing."""
        condition, now = self._condition, self._gate.now - self.lateness
        while (due := condition.due(episode.memory)) is not None and due <= now:
            if condition.lapse(episode.memory, due):
                return True
        return False

    def _rested(self, episode: Episode, at: int) -> bool:
        """Whether it may be said: at once of a new alert, of one that fires when the cooldown is over.

        Measured both ways, so that one event from the future blocks nothing.
        """
        return episode.alert is None or episode.told is None or abs(at - episode.told) >= self._cooldown

    def _quiet_end(self, episode: Episode) -> int | None:
        return episode.last + self._quiet if episode.alert and self._quiet is not None else None

    def _due(self, episode: Episode) -> int | None:
        """The next moment at which something may change without an event."""
        due = self._condition.due(episode.memory)
        if episode.alert is not None:
            if self._quiet is not None:
                quiet = episode.last + self._quiet
                due = quiet if due is None else min(due, quiet)
        elif self._level and episode.met is not None and not episode.held:
            # It holds already, but not long enough yet.
            begins = episode.met + self._hold
            due = begins if due is None else min(due, begins)
        return due

    def _plan(self, episode: Episode) -> None:
        due = self._due(episode)
        if due is not None and (episode.scheduled is None or due < episode.scheduled):
            episode.scheduled = due
            self._schedule(due, self.order, episode.key, self, episode)

    def _schedule_group(self, groups: Groups, group: Gathering, due: int) -> None:
        self._schedule(due, self.order, group.key, groups, group)


def _counts(rule: Rule) -> tuple[Any, ...]:
    """What decides what is counted, and for which keys."""
    labels = [each.text if each else None for each in (rule.key, rule.entity)]
    return rule.condition.describe(), rule.hold > 0, *labels
