"""Says which alerts begin and end: takes events and moments, returns signals, and does nothing else.

Pure and deterministic: the same rules, events and moments give the same signals, live and in a back-test. Times are those
of the events, in ns since the epoch. `advance` tells the engine what time it is, for deadlines (`for`, absence, the end of
a window, `resolve_after`) and as a bound for events whose producer's clock is ahead: call it before `process` too.

Bounded: each rule watches at most `keys` dedup keys, and the one that was quiet for longest is forgotten for a new one (its
alert is resolved, `forgotten`). An event that is delivered again within the last 2,048 returns the signals it returned at
first and changes nothing.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from actors.alerts import snapshot
from actors.alerts.index import RuleIndex
from actors.alerts.inhibition import Inhibition, ranks
from actors.alerts.lanes import Arrived, Deadline, Lane
from actors.alerts.rules import Rule
from actors.alerts.scope import Sight, identity
from actors.alerts.signals import Fault, Signal
from actors.alerts.watch import Watch
from router.event import Event
from router.filter import NOTHING, activation
from router.filter_scan import Needs

__all__ = ["Engine", "Fault", "Signal"]

log = logging.getLogger(__name__)

KEYS = 10_000
# Events that are known again when they are delivered again: far more than an actor has in hand at a time. Of the last so many
# of those that led to signals, the signals too.
MAX_RECENT = 2048
MAX_ANSWERED = 64
# Faults that nobody has fetched yet; further ones are counted only.
MAX_FAULTS = 100
# How far a producer's clock may be ahead: an event from further on counts as one of then.
AHEAD = 60_000_000_000
# What rules look at is converted once for all of them, up to so many items.
MAX_PREPARED = 10_000
# The rules of so many subjects are remembered, forgotten all at once.
MAX_PLANS = 5000
# Rules of one rank; those of a higher one come behind all of them.
_RANK = 1_000_000


class _Plan:
    """The rules that look at events of one subject and type, by lateness, and what they read."""

    __slots__ = ("lanes", "light", "needs")

    def __init__(self, watches: list[Watch], lanes: Mapping[int, Lane[Watch]]) -> None:
        found: dict[int, list[Watch]] = {}
        for watch in watches:
            found.setdefault(watch.lateness, []).append(watch)
        self.lanes = [(lanes[lateness], each) for lateness, each in found.items()]
        needs = {each.needs for watch in watches for each in watch.rule.expressions}
        self.needs = reduce(or_, needs, NOTHING)
        # Without those that read all of the data.
        self.light = reduce(or_, (Needs(each.variables, each.fields or frozenset()) for each in needs), NOTHING)


class Engine:
    """All rules at work."""

    def __init__(self, rules: Iterable[Rule] = (), keys: int = KEYS) -> None:
        self._keys = max(1, keys)
        self._watches: dict[str, Watch] = {}
        self._index: RuleIndex[Watch] = RuleIndex()
        self._plans: dict[tuple[str, str], _Plan] = {}
        self._lanes: dict[int, Lane[Watch]] = {}
        self._inhibition = Inhibition()
        self._now = 0
        self._newest = 0
        self._recent: OrderedDict[str, tuple[Signal, ...]] = OrderedDict()
        self._answered: deque[str] = deque()
        # Digests of events that an engine before this one had judged.
        self._before: frozenset[bytes] = frozenset()
        self._faults: deque[Fault] = deque(maxlen=MAX_FAULTS)
        self.faults = 0
        self.replace(rules)

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are enabled, by name."""
        return {name: watch.rule for name, watch in self._watches.items()}

    @property
    def late(self) -> int:
        """Events that came behind the lateness that their rules allow; they were judged as they came."""
        return sum(lane.late for lane in self._lanes.values())

    @property
    def watched(self) -> int:
        """How many dedup keys are watched."""
        return sum(len(watch.episodes) for watch in self._watches.values())

    def replace(self, rules: Iterable[Rule]) -> list[Signal]:
        """Takes these rules instead of those it has, where they are other objects; returns the ends of alerts.

        A changed rule's alerts go on, and so does what was counted if it still counts the same. A removed or disabled
        one's alerts end (`rule_removed`).
        """
        out: list[Signal] = []
        wanted = {rule.name: rule for rule in rules if rule.enabled}
        self._inhibition = Inhibition(wanted.values())
        for name in [name for name in self._watches if name not in wanted]:
            gone = self._watches.pop(name)
            self._index.remove(gone)
            for episode in list(gone.episodes.values()):
                gone.end(episode, self._now or episode.last, "rule_removed", out)
        rank = ranks(wanted.values())
        for place, rule in enumerate(wanted.values()):
            watch = self._watches.get(rule.name)
            if watch is None or watch.rule is not rule:
                watch = self._add(rule, watch)
            watch.order = rank[rule.name] * _RANK + place
        self._plans.clear()
        self._restore_inhibition(out)
        return out

    def process(self, event: Event) -> list[Signal]:
        """Judges an event by all rules that look at it."""
        plan = self._plan(event)
        if not plan.lanes:
            return []
        mark = identity(event)
        known = self._recent.get(mark)
        if known is not None:
            return list(known)
        out: list[Signal] = []
        if not (self._before and snapshot.digest(mark) in self._before):
            at = min(event.time, self._now + AHEAD) if self._now else event.time
            self._newest = max(self._newest, at)
            for lane, watches in plan.lanes:
                arrived = lane.put(at, mark, event, watches)
                if arrived is not None:
                    self._judge(arrived, plan, out)
                if lane.lateness:
                    self._settle(lane, max(self._newest, self._now), out)
        self._remember(mark, out)
        return out

    def advance(self, now_ns: int) -> list[Signal]:
        """Takes the time that it is: everything that was due by then happens. A time before the last one changes nothing."""
        out: list[Signal] = []
        self._now = max(self._now, now_ns)
        for lane in list(self._lanes.values()):
            self._settle(lane, max(self._newest, self._now) if lane.lateness else self._now, out)
        return out

    def take_faults(self) -> list[Fault]:
        """The faults since the last call, at most 100."""
        faults = list(self._faults)
        self._faults.clear()
        return faults

    def adopt(
        self,
        rule: str,
        key: str,
        *,
        alert: str,
        since: int,
        told: int | None,
        last: int,
        count: int,
        cause: tuple[object, ...] = (),
        entity: str = "",
    ) -> bool:
        """Takes up an alert that fires, as it was stored; False where there is no such rule, so that it has ended.

        `cause` is subject, id and time (RFC 3339) of the event with which it was said last: where that event is delivered
        again, the engine says the same again.
        """
        watch = self._watches.get(rule)
        if watch is None:
            return False
        episode = watch.adopt(key, alert, since, told, last, count)
        if episode is not None:
            episode.cause = cause
            made = watch.rule
            labels = {"entity": entity, "key": key, "category": made.category, "severity": made.severity.value}
            if not episode.labels:
                episode.labels = labels
                self._inhibition.fired(rule, labels)
        return True

    def firing(self) -> list[tuple[str, str, str]]:
        """Rule, key and name of each alert that fires."""
        found = []
        for name, watch in self._watches.items():
            items = watch.episodes if watch.groups is None else watch.groups.found
            found += [(name, key, each.alert) for key, each in items.items() if each.alert is not None]
        return found

    def count(self, rule: str, key: str) -> int:
        """How many matches the alert of a rule and key has, 0 where none fires."""
        watch = self._watches.get(rule)
        episode = watch.episodes.get(key) if watch else None
        return episode.count if episode else 0

    def close(self, rule: str, key: str) -> list[Signal]:
        """Forgets that an alert fires, because somebody resolved or dismissed it: the next match opens another.

        Returns what alerts say that it had inhibited.
        """
        out: list[Signal] = []
        watch = self._watches.get(rule)
        if watch is not None:
            watch.close(key, max(self._now, self._newest), out)
        return out

    def state(self) -> dict[str, Any]:
        """What was counted, waits or fires, as JSON. Without what is known from the rules and from events to come."""
        waiting = {str(lane.lateness): lane for lane in self._lanes.values() if lane.lateness}
        return {
            "version": snapshot.VERSION,
            "now": self._now,
            "newest": self._newest,
            "lanes": {name: snapshot.dump_lane(lane) for name, lane in waiting.items()},
            "rules": {name: found for name, watch in self._watches.items() if (found := snapshot.dump_watch(watch))},
            "recent": snapshot.dump_marks(self._recent, self._before),
        }

    def restore(self, state: Mapping[str, Any]) -> int:
        """Takes up what `state` gave, for the rules that there are; returns how many parts were of no use."""
        if state.get("version") != snapshot.VERSION:
            return 1
        bad = 0
        self._now, self._newest = int(state.get("now", 0)), int(state.get("newest", 0))
        for name, raw in dict(state.get("rules", {})).items():
            watch = self._watches.get(name)
            bad += snapshot.load_watch(watch, raw) if watch else 1
        self._restore_inhibition([])
        self._before = snapshot.load_marks(state.get("recent"))
        for lateness, raw in dict(state.get("lanes", {})).items():
            lane = self._lanes.get(int(lateness))
            for event in snapshot.load_lane(lane, raw) if lane else ():
                watches = [each for known, each in self._plan(event).lanes if known is lane]
                if lane and watches:
                    lane.put(min(event.time, self._newest), identity(event), event, watches[0])
        return bad

    def _add(self, rule: Rule, known: Watch | None) -> Watch:
        lateness = Watch.lateness_of(rule)
        lane = self._lanes.setdefault(lateness, Lane(lateness))
        watch = Watch(rule, self._keys, self, lane.schedule)
        if known is not None:
            self._index.remove(known)
            watch.take_over(known)
        self._watches[rule.name] = watch
        self._index.add(watch)
        return watch

    def _plan(self, event: Event) -> _Plan:
        plan = self._plans.get((event.subject, event.type))
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = _Plan(self._index.find(event.subject, event.type), self._lanes)
            self._plans[event.subject, event.type] = plan
        return plan

    def _settle(self, lane: Lane[Watch], now: int, out: list[Signal]) -> None:
        for each in lane.settle(now):
            if isinstance(each, Deadline):
                self._lapse(each, out)
            else:
                self._judge(each, self._plan(each.event), out)

    def _judge(self, arrived: Arrived[Watch], plan: _Plan, out: list[Signal]) -> None:
        event = arrived.event
        seen = activation(event)
        context = seen.whole_context(plan.needs, MAX_PREPARED)
        if context is None:
            seen.prepare(plan.light, plan.needs.fields is None, MAX_PREPARED)
        sight = Sight(event, seen, arrived.at, arrived.mark, context)
        for watch in arrived.watches:
            try:
                watch.see(sight, out)
            except Exception as error:
                # Not a crash: that would lose the state of all other rules, and happen again with each such event.
                log.exception(
                    "alert rule raised an error on an event; the other rules go on",
                    extra={"rule": watch.rule.name, "event": event.id},
                )
                self._fault(Fault(watch.rule.name, event, error))

    def _lapse(self, due: Deadline, out: list[Signal]) -> None:
        owner, item = due.owner, due.item
        if not owner.alive(item, due.at):
            return
        try:
            owner.lapse(item, due.at, out)
        except Exception as error:
            log.exception(
                "alert rule raised an error at a deadline; its key is forgotten", extra={"rule": owner.rule.name}
            )
            self._fault(Fault(owner.rule.name, None, error))
            # It would fail at every further deadline.
            owner.drop(item)

    def _remember(self, mark: str, out: list[Signal]) -> None:
        self._recent[mark] = tuple(out)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        if out:
            self._answered.append(mark)
            if len(self._answered) > MAX_ANSWERED and (oldest := self._answered.popleft()) in self._recent:
                self._recent[oldest] = ()

    def _restore_inhibition(self, out: list[Signal]) -> None:
        for watch in self._watches.values():
            if self._inhibition.hears(watch.rule.name):
                for episode in watch.episodes.values():
                    if episode.alert:
                        self._inhibition.fired(watch.rule.name, episode.labels)
        for watch in self._watches.values():
            if watch.rule.inhibit:
                watch.settle_held(max(self._now, self._newest), out)

    def _fault(self, fault: Fault) -> None:
        self.faults += 1
        self._faults.append(fault)

    # What watches ask about one another.

    @property
    def now(self) -> int:
        """The time that `advance` was given last."""
        return self._now

    def hears(self, rule: str) -> bool:
        """Whether the alerts of a rule inhibit others."""
        return self._inhibition.hears(rule)

    def holds(self, rule: str, key: str, labels: dict[str, str]) -> bool:
        """Whether another alert inhibits this one."""
        return self._inhibition.holds(rule, key, labels)

    def fired(self, rule: str, labels: dict[str, str]) -> None:
        """Notes that an alert fires."""
        self._inhibition.fired(rule, labels)

    def ended(self, rule: str, labels: dict[str, str], at: int, out: list[Signal]) -> None:
        """Notes that an alert has ended, and wakes those that it inhibited, those first that inhibit others."""
        woken = self._inhibition.ended(rule, labels)
        known = [(self._watches[name], key) for name, key in woken if name in self._watches]
        for watch, key in sorted(known, key=lambda each: (each[0].order, each[1])):
            watch.wake(key, at, out)
