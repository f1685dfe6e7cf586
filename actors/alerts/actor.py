"""Turns events that match a rule into alerts: `alert.<rule>.firing`, and later `alert.<rule>.resolved`.

An alert is one episode of one rule and one dedup key (by default the entity, with its domain). While it fires,
further matches raise its count, and at most once per cooldown it says again that it fires, under the same id. Times
are those of the events, never of the wall clock, so that an event that is delivered again changes nothing. Only
`resolve_after` looks at the clock, for it is about events that do not come.

What is firing is rebuilt in `start` from the newest `firing` and `resolved` of each rule. A rule that fires for
several keys at once is so remembered for the newest one only; for the others a next match opens a new alert.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from actors.alerts.episodes import NS, Episode, Episodes, alert_id
from actors.alerts.rules import BadRules, Rule, read
from actors.alerts.template import shown
from actors.system.actor import Actor, command
from actors.system.context import Context
from router.clock import wall
from router.codec import encode, rfc3339
from router.errors import BadInput
from router.event import Event
from router.filter import NOTHING, Activation, activation
from router.filter_scan import Needs
from router.subject import Subject, unescape

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("rules.yaml")
# One answer to a caller stays far below what NATS carries.
MAX_LISTED = 500
# 5 ms of rules at a time; what rules look at is converted once for all of them, up to so many items.
MAX_TURN = 0.005
MAX_PREPARED = 10_000
# Bytes of an alert that is taken up again at a start; one that this actor said has some 10 KiB at most.
MAX_RECALLED = 65_536
# What a file with hundreds of mistakes says about itself.
MAX_MISTAKES = 50

RULE_FAULTS = Counter("actors_alerts_rule_faults_total", "Times that a rule failed at an event, and the next went on")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# When a rules file was written, how long it is, which file it is: another answer means that it changed.
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class AlertsSettings:
    """Which rules apply, and how much is remembered. Without a `rules_file`, the rules that are shipped."""

    rules_file: str | None = None
    keys: int = 10_000  # episodes in memory; past that the one that was quiet for longest is forgotten


class Alerts(Actor):
    """Watches all events and raises alerts by rules."""

    name = "alerts"
    subjects = (">",)
    every = 1.0

    def __init__(self, settings: AlertsSettings | None = None, now: Callable[[], int] = wall.now_ns) -> None:
        self._settings = settings or AlertsSettings()
        self._file = Path(self._settings.rules_file) if self._settings.rules_file else SHIPPED
        self._now = now
        self._rules: dict[str, Rule] = {}
        # What all rules look at, and whether one of them looks at all of the data.
        self._needs = NOTHING
        self._whole = False
        self._stamp: _Stamp | None = None
        self._mistakes: tuple[str, ...] = ()
        self._untold = False
        self._episodes = Episodes(max(1, self._settings.keys))

    async def start(self, ctx: Context) -> None:
        self._stamp = await ctx.offload(_stamp, self._file)
        await self._load(ctx)
        for event in await ctx.latest("alert.*.firing", "alert.*.resolved"):
            if event.source == self.name:
                self._recall(event)

    async def receive(self, event: Event, ctx: Context) -> None:
        if _own(event):
            return
        seen = activation(event)
        seen.prepare(self._needs, self._whole, MAX_PREPARED)
        begun = time.perf_counter()
        for rule in self._rules.values():
            if rule.hears(event.subject):
                try:
                    self._judge(rule, seen, ctx)
                except Exception as fault:
                    # Not a crash: that would lose the state of all other rules, and happen again with each such event.
                    log.exception(
                        "alert rule raised an error on an event; the other rules go on",
                        extra={"rule": rule.name, "event": event.id},
                    )
                    RULE_FAULTS.inc()
                    told = {"rule": rule.name, "event": event.id, "subject": event.subject, "fault": repr(fault)[:500]}
                    ctx.emit("system.alerts.rule_failed", told)
            if time.perf_counter() - begun > MAX_TURN:
                # Let the event loop run: health probes are served by it too.
                await asyncio.sleep(0)
                begun = time.perf_counter()

    async def tick(self, ctx: Context) -> None:
        stamp = await ctx.offload(_stamp, self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            if await self._load(ctx):
                ctx.emit("system.alerts.rules_loaded", {"file": self._file.name, "rules": list(self._rules)})
        if self._untold:
            self._untold = False
            mistakes = list(self._mistakes[:MAX_MISTAKES])
            ctx.emit("system.alerts.rules_rejected", {"file": self._file.name, "mistakes": mistakes})
        self._end_quiet(ctx)

    @command
    async def rules(self) -> list[dict[str, Any]]:
        """Lists the rules that apply."""
        return [rule.describe() for rule in self._rules.values()][:MAX_LISTED]

    @command
    async def firing(self) -> list[dict[str, Any]]:
        """Lists the firing alerts as last published, the newest first."""
        alerts = [{**each.said, "count": each.count} for each in self._episodes if each.alert]
        return sorted(alerts, key=lambda said: str(said["since"]), reverse=True)[:MAX_LISTED]

    async def _load(self, ctx: Context) -> bool:
        """Takes the file's rules, or keeps those it has and remembers the mistakes."""
        if self._stamp is None and self._file == SHIPPED:
            return False
        try:
            rules = await ctx.offload(read, self._file)
        except BadRules as fault:
            self._mistakes, self._untold = tuple(map(str, fault.mistakes)), True
            log.error(
                "alert rules rejected; the previous rules stay in force",
                extra={"file": str(self._file), "mistakes": self._mistakes[:MAX_MISTAKES]},
            )
            return False
        self._mistakes, self._untold = (), False
        self._rules = {rule.name: rule for rule in rules}
        found = {each.needs for rule in rules for each in (rule.when, rule.resolve_when) if each is not None}
        self._whole = any(each.fields is None for each in found)
        self._needs = reduce(or_, (Needs(each.variables, each.fields or frozenset()) for each in found), NOTHING)
        log.info("alert rules loaded", extra={"file": str(self._file), "rules": len(rules)})
        return True

    def _judge(self, rule: Rule, seen: Activation, ctx: Context) -> None:
        """Evaluates one rule on one event."""
        event = seen.event
        ends = rule.resolve_when is not None and rule.resolve_when.matches(seen)
        if not ends and not rule.when.matches(seen):
            return
        scope = _scope(rule, seen)
        key = rule.key.of(seen, scope) if rule.key else None
        if key is None:
            # With the domain: a job and a run may bear the same name.
            key = scope["entity"] if rule.entity else f"{event.subject.domain}.{scope['entity']}"
        if ends:
            self._end(self._episodes.find(rule.name, key), event, "resolve_when", ctx)
            return
        episode, forgotten = self._episodes.touch(rule.name, key)
        self._end(forgotten, event, "forgotten", ctx)
        if _is_cause(episode.said, event):
            # Redelivered: emitted again, unchanged and in the same order, so that the ids of what follows stay the same.
            _say(episode, ctx)
        elif episode.saw(event.time, _identity(event), rule.count, rule.within):
            self._matched(rule, episode, seen, scope, ctx)

    def _matched(self, rule: Rule, episode: Episode, seen: Activation, scope: dict[str, Any], ctx: Context) -> None:
        event = seen.event
        if episode.alert:
            episode.count += 1
        if len(episode.seen) < rule.count or not episode.rested(event.time, rule.cooldown):
            return
        if not episode.alert:
            episode.alert = alert_id(rule.name, episode.key, _identity(event))
            episode.since = event.time
            episode.count = len(episode.seen)
        episode.told = event.time
        episode.ending = False
        episode.said = _firing(rule, episode, event, {**scope, "count": episode.count})
        _say(episode, ctx)

    def _end(self, episode: Episode | None, event: Event | None, reason: str, ctx: Context) -> None:
        """Resolves an alert, if there is one."""
        if episode is None:
            return
        episode.seen.clear()
        if episode.alert:
            said = {**episode.said, "count": episode.count, "reason": reason}
            if event:
                said |= _cause(event)
            episode.alert, episode.said, episode.ending = None, said, True
            _say(episode, ctx)
        elif event and episode.ending and _is_cause(episode.said, event):
            _say(episode, ctx)

    def _end_quiet(self, ctx: Context) -> None:
        """Resolves alerts that have been quiet for long enough, and those whose rule was removed."""
        now = self._now()
        for episode in self._episodes:
            try:
                self._end_if_quiet(episode, now, ctx)
            except Exception:
                # An episode that cannot be resolved would fail at every tick, and after each restart.
                log.exception(
                    "alert could not be resolved; it is dropped without a resolved event", extra={"rule": episode.rule}
                )
                RULE_FAULTS.inc()
                self._episodes.forget(episode)

    def _end_if_quiet(self, episode: Episode, now: int, ctx: Context) -> None:
        # An event from the future shall not keep its alert from ending.
        episode.last = min(episode.last, now)
        rule = self._rules.get(episode.rule)
        if rule is None:
            self._end(episode, None, "rule_removed", ctx)
            self._episodes.forget(episode)
        elif episode.alert and rule.resolve_after is not None and now - episode.last >= rule.resolve_after * NS:
            self._end(episode, None, "resolve_after", ctx)

    def _recall(self, event: Event) -> None:
        """Rebuilds an episode from its stored alert."""
        match event.data:
            case {"rule": str(rule), "key": str(key), "alert": str(alert), "count": int(count)}:
                pass
            case _:
                return
        if not _can_be_said_again(event, rule, alert):
            log.warning("stored alert is invalid and is ignored", extra={"event": event.id, "subject": event.subject})
            return
        episode, _ = self._episodes.touch(rule, key)
        if event.type == "resolved" and episode.said.get("alert") not in (None, alert):
            return  # the end of an older alert than the one that fires
        episode.said = dict(event.data)
        episode.ending = event.type == "resolved"
        episode.alert = None if episode.ending else alert
        episode.count = count
        episode.since = _moment(event.data.get("since")) or event.time
        episode.told = _moment(event.data.get("told"))
        episode.last = _moment(event.data.get("cause_time")) or event.time


def _can_be_said_again(event: Event, rule: str, alert: str) -> bool:
    """Whether the end of an alert that was found in the stream, which may be anybody's, could be published."""
    try:
        again = Event.new(Subject.of("alert", rule, "resolved"), event.data, key=alert)
        return len(encode(again)) <= MAX_RECALLED
    except BadInput:
        return False


def _own(event: Event) -> bool:
    """Says whether this actor emitted an event; a rule that matched those would trigger itself."""
    subject = event.subject
    if subject.startswith("alert."):
        return event.type in ("firing", "resolved") or event.source == Alerts.name
    return subject.startswith("system.alerts.")


def _scope(rule: Rule, seen: Activation) -> dict[str, Any]:
    """What a template of this rule can show of an event."""
    event = seen.event
    scope = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": str(event.subject),
        "domain": event.subject.domain,
        "entity": unescape(event.subject.entity),
        "key": event.key,
        "cause": event.cause,
        "test": event.test,
        "time": _written(event.time),
        "data": event.data,
        "rule": rule.name,
        "severity": rule.severity.value,
        "category": rule.category,
        "value": rule.value.value(seen) if rule.value else None,
    }
    if rule.entity and (entity := rule.entity.of(seen, scope)) is not None:
        scope["entity"] = entity
    return scope


def _firing(rule: Rule, episode: Episode, event: Event, scope: Mapping[str, Any]) -> dict[str, Any]:
    value = scope["value"]
    return {
        "rule": rule.name,
        "alert": episode.alert,
        "key": episode.key,
        "severity": rule.severity.value,
        "category": rule.category,
        "title": rule.title.fill(scope, 200),
        "message": rule.message.fill(scope, 1000),
        "entity": scope["entity"],
        "value": shown(value) if isinstance(value, str) else value,
        "count": episode.count,
        "since": _written(episode.since),
        "told": _written(event.time),
        "actions": [action.describe(scope) for action in rule.actions],
        "audience": list(rule.audience),
        **_cause(event),
    }


def _identity(event: Event) -> str:
    """Names an event; its id alone is chosen by its publisher, and another publisher may choose the same."""
    return f"{event.subject}\n{event.id}\n{event.time}"


def _is_cause(said: dict[str, Any], event: Event) -> bool:
    """Whether an alert was said because of this event, which is then delivered again."""
    return _cause(event).items() <= said.items()


def _cause(event: Event) -> dict[str, str]:
    return {"cause_subject": str(event.subject), "cause_id": event.id, "cause_time": _written(event.time)}


def _say(episode: Episode, ctx: Context) -> None:
    subject = Subject.of("alert", episode.rule, "resolved" if episode.ending else "firing")
    ctx.emit(subject, episode.said, key=str(episode.said["alert"]))


def _written(time_ns: int) -> str:
    """Writes a time as an event says it, which may be any number at all."""
    try:
        return rfc3339(time_ns)
    except (ValueError, OverflowError, OSError):
        return rfc3339(0)


def _moment(text: object) -> int | None:
    """Reads a time that `_written` wrote, to the microsecond."""
    try:
        return (datetime.fromisoformat(str(text)) - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, TypeError):
        return None


def _stamp(file: Path) -> _Stamp | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
