"""Turns events that match a rule into alerts: `alert.<rule>.firing`, and later `alert.<rule>.resolved`.

An alert is one episode of one rule and one dedup key (by default the entity, with its domain). While it fires,
further matches raise its count, and at most once per cooldown it says again that it fires, under the same id. Times
are those of the events, never of the wall clock, so that an event that is delivered again changes nothing. Only
`resolve_after` looks at the clock, for it is about events that do not come.

What is firing is rebuilt in `start` from the newest `firing` and `resolved` of each rule. A rule that fires for
several keys at once is so remembered for the newest one only; for the others a next match opens a new alert.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from actors.alerts.engine import Engine, Signal
from actors.alerts.rules import BadRules, read
from actors.alerts.scope import written
from actors.alerts.template import shown
from actors.system.actor import Actor, command
from actors.system.context import Context
from router.clock import wall
from router.codec import encode
from router.errors import BadInput
from router.event import Event
from router.subject import Subject

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("rules.yaml")
# One answer to a caller stays far below what NATS carries.
MAX_LISTED = 500
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
        self._engine = Engine(keys=self._settings.keys)
        # The data of what was emitted last for each alert that fires, by rule and key.
        self._firing: dict[tuple[str, str], dict[str, Any]] = {}
        self._ended: list[Signal] = []
        self._stamp: _Stamp | None = None
        self._mistakes: tuple[str, ...] = ()
        self._untold = False

    async def start(self, ctx: Context) -> None:
        self._stamp = await ctx.offload(_stamp, self._file)
        await self._load(ctx)
        for event in await ctx.latest("alert.*.firing", "alert.*.resolved"):
            if event.source == self.name:
                self._recall(event)

    async def receive(self, event: Event, ctx: Context) -> None:
        if _own(event):
            return
        self._tell(self._engine.advance(self._now()), ctx)
        signals = self._engine.process(event)
        for fault in self._engine.take_faults():
            RULE_FAULTS.inc()
            if fault.event is not None:
                cause = {"event": fault.event.id, "subject": fault.event.subject}
                ctx.emit("system.alerts.rule_failed", {"rule": fault.rule, **cause, "fault": repr(fault.error)[:500]})
        self._tell(signals, ctx)

    async def tick(self, ctx: Context) -> None:
        stamp = await ctx.offload(_stamp, self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            if await self._load(ctx):
                ctx.emit("system.alerts.rules_loaded", {"file": self._file.name, "rules": list(self._engine.rules)})
        if self._untold:
            self._untold = False
            mistakes = list(self._mistakes[:MAX_MISTAKES])
            ctx.emit("system.alerts.rules_rejected", {"file": self._file.name, "mistakes": mistakes})
        self._tell(self._engine.advance(self._now()), ctx)
        self._end_orphans(ctx)

    @command
    async def rules(self) -> list[dict[str, Any]]:
        """Lists the rules that apply."""
        return [rule.describe() for rule in self._engine.rules.values()][:MAX_LISTED]

    @command
    async def firing(self) -> list[dict[str, Any]]:
        """Lists the firing alerts as last published, the newest first."""
        alerts = [{**said, "count": self._engine.count(*place)} for place, said in self._firing.items()]
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
        self._ended += self._engine.replace(rules)
        log.info("alert rules loaded", extra={"file": str(self._file), "rules": len(rules)})
        return True

    def _tell(self, signals: list[Signal], ctx: Context) -> None:
        """Emits what the engine says."""
        for signal in signals:
            place = signal.rule.name, signal.key
            if signal.kind == "resolved":
                said = {**self._firing.pop(place, {}), **_resolved(signal)}
            else:
                said = self._firing[place] = _firing(signal)
            subject = Subject.of("alert", signal.rule.name, "resolved" if signal.kind == "resolved" else "firing")
            ctx.emit(subject, said, key=signal.alert)

    def _end_orphans(self, ctx: Context) -> None:
        """Resolves the alerts whose rule is gone."""
        ended, self._ended = self._ended, []
        self._tell(ended, ctx)
        for place in [each for each in self._firing if each[0] not in self._engine.rules]:
            said = {**self._firing.pop(place), "reason": "rule_removed"}
            ctx.emit(Subject.of("alert", place[0], "resolved"), said, key=str(said["alert"]))

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
        place = rule, key
        if event.type == "resolved":
            if self._firing.get(place, {}).get("alert") in (None, alert):
                self._firing.pop(place, None)
                self._engine.close(rule, key)
            return
        self._firing[place] = dict(event.data)
        since = _moment(event.data.get("since")) or event.time
        last = _moment(event.data.get("cause_time")) or event.time
        told = _moment(event.data.get("told"))
        cause = tuple(event.data.get(each) for each in ("cause_subject", "cause_id", "cause_time"))
        self._engine.adopt(rule, key, alert=alert, since=since, told=told, last=last, count=count, cause=cause)


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


def _firing(signal: Signal) -> dict[str, Any]:
    rule, scope, value = signal.rule, signal.scope, signal.value
    return {
        "rule": rule.name,
        "alert": signal.alert,
        "key": signal.key,
        "severity": rule.severity.value,
        "category": rule.category,
        "title": rule.title.fill(scope, 200),
        "message": rule.message.fill(scope, 1000),
        "entity": scope["entity"],
        "value": shown(value) if isinstance(value, str) else value,
        "count": signal.count,
        "since": written(signal.since),
        "told": written(signal.at),
        "actions": [action.describe(scope) for action in rule.actions],
        "audience": list(rule.audience),
        **_cause(signal.scope),
    }


def _resolved(signal: Signal) -> dict[str, Any]:
    return {
        "rule": signal.rule.name,
        "alert": signal.alert,
        "key": signal.key,
        "count": signal.count,
        "reason": signal.reason,
        **_cause(signal.scope),
    }


def _cause(scope: Mapping[str, Any]) -> dict[str, Any]:
    names = {"cause_subject": "subject", "cause_id": "id", "cause_time": "time"}
    return {name: scope[each] for name, each in names.items() if each in scope}


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
