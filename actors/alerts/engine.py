"""Says which alerts begin and end: takes events and moments, returns signals, and does nothing else.

Pure and deterministic: the same rules, events and moments give the same signals, live and in a back-test. Times are those
of the events, in ns since the epoch. `advance` tells the engine what time it is, for deadlines (`for`, absence, the end of
a window, `resolve_after`) and as a bound for events whose producer's clock is ahead.

Bounded: each rule watches at most `keys` dedup keys, and the one that was quiet for longest is forgotten for a new one (its
alert is resolved, `forgotten`). An event that is delivered again within the last 2,048 returns the signals it returned at
first and changes nothing.
"""

from __future__ import annotations

import heapq
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

from actors.alerts.conditions.threshold import Threshold
from actors.alerts.index import RuleIndex
from actors.alerts.rules import Rule
from actors.alerts.scope import Sight, identity
from actors.alerts.signals import Fault, Signal
from actors.alerts.watch import Episode, Watch
from router.event import Event
from router.filter import NOTHING, Activation, activation
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


class _Plan:
    """The rules that look at events of one subject and type, and what they read."""

    __slots__ = ("needs", "watches", "whole")

    def __init__(self, watches: list[Watch]) -> None:
        self.watches = watches
        found = {each.needs for watch in watches for each in watch.rule.expressions}
        self.whole = any(each.fields is None for each in found)
        self.needs = reduce(or_, (Needs(each.variables, each.fields or frozenset()) for each in found), NOTHING)


class Engine:
    """All rules at work."""

    def __init__(self, rules: Iterable[Rule] = (), keys: int = KEYS) -> None:
        self._keys = max(1, keys)
        self._watches: dict[str, Watch] = {}
        self._index: RuleIndex[Watch] = RuleIndex()
        self._plans: dict[tuple[str, str], _Plan] = {}
        self._timers: list[tuple[int, int, Watch, Episode]] = []
        self._set = 0
        self._now = 0
        self._recent: OrderedDict[str, tuple[Signal, ...]] = OrderedDict()
        self._answered: deque[str] = deque()
        self._faults: deque[Fault] = deque(maxlen=MAX_FAULTS)
        self.faults = 0
        self.replace(rules)

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules by name."""
        return {name: watch.rule for name, watch in self._watches.items()}

    def replace(self, rules: Iterable[Rule]) -> list[Signal]:
        """Takes these rules instead of those it has; what a changed rule watches stays, a removed one's alerts end."""
        out: list[Signal] = []
        wanted = {rule.name: rule for rule in rules}
        for name in [name for name in self._watches if name not in wanted]:
            gone = self._watches.pop(name)
            self._index.remove(gone)
            for episode in list(gone.episodes.values()):
                gone.end(episode, self._now or episode.last, "rule_removed", out)
        for order, rule in enumerate(wanted.values()):
            known = self._watches.get(rule.name)
            if known is not None and known.rule is rule:
                known.order = order
                continue
            watch = Watch(rule, Threshold(rule.count, rule.within), order, self._keys, self._schedule)
            if known is not None:
                self._index.remove(known)
                self._take_over(known, watch)
            self._watches[rule.name] = watch
            self._index.add(watch)
        self._plans.clear()
        return out

    def process(self, event: Event) -> list[Signal]:
        """Judges an event by all rules that look at it."""
        plan = self._plan(event)
        if not plan.watches:
            return []
        mark = identity(event)
        known = self._recent.get(mark)
        if known is not None:
            return list(known)
        out: list[Signal] = []
        seen = activation(event)
        seen.prepare(plan.needs, plan.whole, MAX_PREPARED)
        self._judge(event, seen, plan, mark, out)
        self._remember(mark, out)
        return out

    def advance(self, now_ns: int) -> list[Signal]:
        """Takes the time that it is: everything that was due by then happens. A time before the last one changes nothing."""
        out: list[Signal] = []
        self._now = max(self._now, now_ns)
        while self._timers and self._timers[0][0] <= self._now:
            due, _, watch, episode = heapq.heappop(self._timers)
            if episode.scheduled != due or watch.episodes.get(episode.key) is not episode:
                continue
            try:
                watch.lapse(episode, due, out)
            except Exception as error:
                log.exception(
                    "alert rule raised an error at a deadline; its key is forgotten", extra={"rule": watch.rule.name}
                )
                self._fault(Fault(watch.rule.name, None, error))
                # It would fail at every further deadline.
                watch.episodes.pop(episode.key, None)
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
    ) -> bool:
        """Takes up an alert that fires, as it was stored; False where there is no such rule, so that it has ended.

        `cause` is subject, id and time (RFC 3339) of the event with which it was said last: where that event is delivered
        again, the engine says the same again.
        """
        watch = self._watches.get(rule)
        if watch is None:
            return False
        watch.adopt(key, alert, since, told, last, count)
        watch.episodes[key].cause = cause
        return True

    def count(self, rule: str, key: str) -> int:
        """How many matches the alert of a rule and key has, 0 where none fires."""
        watch = self._watches.get(rule)
        episode = watch.episodes.get(key) if watch else None
        return episode.count if episode else 0

    def close(self, rule: str, key: str) -> None:
        """Forgets that an alert fires, because somebody resolved or dismissed it: the next match opens another."""
        watch = self._watches.get(rule)
        if watch is not None:
            watch.close(key)

    def _plan(self, event: Event) -> _Plan:
        plan = self._plans.get((event.subject, event.type))
        if plan is None:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            plan = _Plan(self._index.find(event.subject, event.type))
            self._plans[event.subject, event.type] = plan
        return plan

    def _judge(self, event: Event, seen: Activation, plan: _Plan, mark: str, out: list[Signal]) -> None:
        at = min(event.time, self._now + AHEAD) if self._now else event.time
        sight = Sight(event, seen, at, mark)
        for watch in plan.watches:
            try:
                watch.see(sight, out)
            except Exception as error:
                # Not a crash: that would lose the state of all other rules, and happen again with each such event.
                log.exception(
                    "alert rule raised an error on an event; the other rules go on",
                    extra={"rule": watch.rule.name, "event": event.id},
                )
                self._fault(Fault(watch.rule.name, event, error))

    def _remember(self, mark: str, out: list[Signal]) -> None:
        self._recent[mark] = tuple(out)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        if out:
            self._answered.append(mark)
            if len(self._answered) > MAX_ANSWERED and (oldest := self._answered.popleft()) in self._recent:
                self._recent[oldest] = ()

    def _schedule(self, watch: Watch, episode: Episode, due: int) -> None:
        self._set += 1
        heapq.heappush(self._timers, (due, self._set, watch, episode))

    def _take_over(self, known: Watch, watch: Watch) -> None:
        for episode in known.episodes.values():
            watch.take_over(episode)

    def _fault(self, fault: Fault) -> None:
        self.faults += 1
        self._faults.append(fault)
