"""This file is where rules are held against every event, and alerts are said: once when it begins, once when it is over.

An alert is an episode of one rule and one key (by default the event's entity). It fires when the rule has matched often
enough within its time; while its cooldown lasts it is not said again. All times are the events' own, so an event that is
delivered twice changes nothing. After a restart what fires is taken up from the newest `firing` and `resolved` of each
rule; of a rule that fires for several keys at once only the newest is remembered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.alerts.episodes import NS, Episode, Episodes, alert_id
from actors.alerts.rules import MAX_LABEL, BadRules, Rule, read
from actors.alerts.template import shown
from actors.system.actor import Actor, command
from actors.system.context import Context
from router.codec import rfc3339
from router.event import Event
from router.filter import Activation, activation
from router.subject import Subject, unescape

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "rules.yaml"
MAX_EPISODES = 10_000
MAX_MESSAGE = 1000


@dataclass(frozen=True)
class AlertsSettings:
    """Where the rules are; the file is read again whenever it changes. None: the rules that are shipped."""

    rules_file: str | None = None


class Alerts(Actor):
    """Holds rules against every event and says alerts."""

    name = "alerts"
    subjects = (">",)
    every = 1.0

    def __init__(self, settings: AlertsSettings | None = None) -> None:
        self.settings = settings or AlertsSettings()
        self._path = Path(self.settings.rules_file) if self.settings.rules_file else SHIPPED
        self._rules: tuple[Rule, ...] = ()
        self._stamp: tuple[int, int] | None = None
        self._episodes = Episodes(MAX_EPISODES)

    async def start(self, ctx: Context) -> None:
        self._reload(ctx)
        newest: dict[str, Event] = {}
        for event in await ctx.latest("alert.*.firing", "alert.*.resolved"):
            newest[event.subject.entity] = event
        for event in newest.values():
            self._restore(event)

    async def receive(self, event: Event, ctx: Context) -> None:
        if event.subject.domain == "alert":
            return  # an alert about an alert would never end
        seen = activation(event)
        for rule in self._rules:
            if not rule.hears(event.subject):
                continue
            if rule.when.matches(seen):
                self._matched(rule, seen, ctx)
            elif rule.resolve_when is not None and rule.resolve_when.matches(seen):
                self._over(rule, self._key(rule, seen), event.time, ctx, event)

    async def tick(self, ctx: Context) -> None:
        self._reload(ctx)
        now = time.time_ns()
        by_name = {rule.name: rule for rule in self._rules}
        for episode in self._episodes:
            rule = by_name.get(episode.rule)
            if (
                rule
                and rule.resolve_after is not None
                and episode.alert
                and now - episode.last > rule.resolve_after * NS
            ):
                self._over(rule, episode.key, now, ctx, None)

    def _matched(self, rule: Rule, seen: Activation, ctx: Context) -> None:
        event = seen.event
        key = self._key(rule, seen)
        episode, forgotten = self._episodes.touch(rule.name, key)
        if forgotten is not None and forgotten.alert:
            log.warning("too many alerts are followed; the quietest was let go", extra={"rule": forgotten.rule})
        if not episode.saw(event.time, event.id, rule.count, rule.within) or len(episode.seen) < rule.count:
            return
        episode.count += 1
        if not episode.rested(event.time, rule.cooldown):
            return
        if episode.alert is None:
            episode.alert, episode.since = alert_id(rule.name, key, event.id), event.time
        data = self._describe(rule, episode, seen)
        ctx.emit(Subject.of("alert", rule.name, "firing"), data, key=f"{rule.name}:{key}")
        episode.told, episode.said = event.time, data

    def _over(self, rule: Rule, key: str, when: int, ctx: Context, cause: Event | None) -> None:
        episode = self._episodes.find(rule.name, key)
        if episode is None or episode.alert is None:
            return
        data = {
            **episode.said,
            "count": episode.count,
            "resolved": rfc3339(when),
            "resolved_by": cause.id if cause else "silence",
        }
        ctx.emit(Subject.of("alert", rule.name, "resolved"), data, key=f"{rule.name}:{key}")
        # The cooldown goes on: what flaps is said once in that time, however often it comes and goes.
        episode.alert, episode.count, episode.said = None, 0, {}
        episode.seen.clear()

    def _describe(self, rule: Rule, episode: Episode, seen: Activation) -> dict[str, Any]:
        event = seen.event
        value = rule.value.value(seen) if rule.value else None
        scope = {**self._scope(rule, event), "count": episode.count, "value": value}
        entity = rule.entity.of(seen, scope) if rule.entity else unescape(event.subject.entity)
        scope["entity"] = entity
        return {
            "rule": rule.name,
            "alert": episode.alert,
            "severity": rule.severity.value,
            "category": rule.category,
            "title": rule.title.fill(scope, MAX_LABEL),
            "message": rule.message.fill(scope, MAX_MESSAGE),
            "entity": entity,
            "key": episode.key,
            "value": value,
            "count": episode.count,
            "since": rfc3339(episode.since),
            "audience": list(rule.audience),
            "actions": [action.describe(scope) for action in rule.actions],
            "cause_subject": event.subject,
            "cause_id": event.id,
        }

    @staticmethod
    def _scope(rule: Rule, event: Event) -> Mapping[str, Any]:
        return {
            "id": event.id,
            "type": event.type,
            "source": event.source,
            "subject": event.subject,
            "domain": event.subject.domain,
            "entity": unescape(event.subject.entity),
            "key": event.key,
            "cause": event.cause,
            "test": event.test,
            "time": rfc3339(event.time),
            "data": event.data,
            "rule": rule.name,
            "severity": rule.severity.value,
            "category": rule.category,
        }

    def _key(self, rule: Rule, seen: Activation) -> str:
        scope = self._scope(rule, seen.event)
        found = rule.key.of(seen, scope) if rule.key else f"{seen.event.subject.domain}.{seen.event.subject.entity}"
        return (found or "")[:MAX_LABEL]

    def _restore(self, event: Event) -> None:
        data = event.data
        key, alert = data.get("key"), data.get("alert")
        if not isinstance(key, str) or not isinstance(alert, str):
            return
        episode, _ = self._episodes.touch(unescape(event.subject.entity), key)
        episode.told = episode.last = event.time
        if event.type == "firing":
            count = data.get("count")
            episode.alert, episode.since, episode.said = alert, event.time, dict(data)
            episode.count = count if isinstance(count, int) else 1

    def _reload(self, ctx: Context) -> None:
        """Reads the rules where the file has changed; a file with mistakes leaves the rules as they were, and says so."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = (-1, -1)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._rules = read(self._path)
        except BadRules as fault:
            mistakes = [shown(str(mistake)) for mistake in fault.mistakes]
            log.error(
                "the alert rules have mistakes, the old ones stay",
                extra={"file": self._path.name, "mistakes": mistakes},
            )
            ctx.emit("system.alerts.rules_rejected", {"file": self._path.name, "mistakes": mistakes[:50]})
            return
        log.info("alert rules were read", extra={"file": self._path.name, "rules": len(self._rules)})
        known = {rule.name for rule in self._rules}
        for episode in self._episodes:
            if episode.rule not in known:
                self._episodes.forget(episode)

    @command
    async def rules(self) -> list[dict[str, Any]]:
        """The rules in force."""
        return [rule.describe() for rule in self._rules]

    @command
    async def firing(self) -> list[dict[str, Any]]:
        """What fires now."""
        return [episode.said for episode in self._episodes if episode.alert]
