"""Turns events that match a rule into alerts, which have a life: `alert.<rule>.firing`, and later `alert.<rule>.resolved`.

The engine judges, and what it says is written into the alert's record in the bucket ALERTS (`router.alerts`), by the same
write the event that tells of it. People change the same records through the edge. Records are the truth: what fires is taken
up from them at a start, and a change that was made already changes nothing. Times are those of the events, so that an event
that is delivered again changes nothing either; deadlines and snoozes look at the clock, for they are about events that do not
come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge

from actors.alerts.alertmanager import AlertmanagerSettings
from actors.alerts.engine import Engine, Signal
from actors.alerts.keeper import clock
from actors.alerts.ledger import AlertChange, AlertLedger, change_of, end, woken, write
from actors.alerts.rulebook import MAX_MISTAKES, SHIPPED, RuleBook, described, parse_one
from actors.alerts.rules import BadRules, Rule
from actors.alerts.scope import is_own
from actors.alerts.stores import Stores
from actors.alerts.trials import BacktestGone, rules_of, trial
from actors.system.actor import Actor, Reject, command
from actors.system.context import Context
from router.alerts import ALERTMANAGER, PERSON, AlertRecord, describe
from router.clock import wall
from router.codec import rfc3339
from router.event import Event

log = logging.getLogger(__name__)

# One answer to a caller stays far below what NATS carries.
MAX_LISTED = 500
MAX_DESCRIBED = 1000
# Seconds between two looks for events that others have written and not published.
LEFT_SECONDS = 5.0

RULES = Gauge("actors_alerts_rules", "Rules in force")
MISTAKES = Gauge("actors_alerts_rule_mistakes", "Mistakes that keep a changed rule out of force", ["source"])
AWAY = Gauge("actors_alerts_alertmanagers_away", "Alertmanagers that did not take the last post")
RULE_FAULTS = Counter("actors_alerts_rule_faults_total", "Times that a rule failed at an event, and the next went on")


@dataclass(frozen=True, slots=True)
class AlertsSettings:
    """Which rules apply, and how much is remembered. Without a `rules_file`, the rules that are shipped."""

    rules_file: str | None = None
    keys: int = 10_000  # dedup keys of a rule; past that the one that was quiet for longest is forgotten
    alertmanager: AlertmanagerSettings = field(default_factory=AlertmanagerSettings)


class Alerts(Actor):
    """Watches all events and raises alerts by rules."""

    name = "alerts"
    subjects = (">",)
    every = 1.0

    def __init__(
        self,
        settings: AlertsSettings | None = None,
        now: Callable[[], int] = wall.now_ns,
        ledger: AlertLedger | None = None,
    ) -> None:
        """Without a `ledger` alerts and rules are kept by NATS."""
        self._settings = settings or AlertsSettings()
        self._book = RuleBook(Path(self._settings.rules_file) if self._settings.rules_file else SHIPPED)
        self._now = now
        self._engine = Engine(keys=self._settings.keys)
        self._ledger = ledger
        self._stores: Stores | None = None
        self._mistakes: tuple[str, ...] = ()
        self._untold = False
        # When snoozes end, by the alert's entry.
        self._snoozed: dict[str, int] = {}
        self._looked = 0.0
        # What the engine said where nothing can be written.
        self._ended: list[Signal] = []

    async def start(self, ctx: Context) -> None:
        if self._ledger is None:
            self._stores = Stores(ctx, self._record_changed, self._settings.alertmanager)
            self._ledger = self._stores.ledger
            await self._stores.read(self._now())
        self._book.look()
        await self._load(ctx)
        await self._load_stored(ctx)
        self._book.warn_of_taken_over()
        self._engine.replace(self._book.rules)
        if self._stores is not None and (state := await self._stores.state.read()) is not None:
            self._engine.restore(state)
        self._adopt(ctx)

    async def receive(self, event: Event, ctx: Context) -> None:
        if is_own(event):
            return
        signals = self._engine.advance(self._judged_until(ctx))
        signals += self._engine.process(event)
        for fault in self._engine.take_faults():
            RULE_FAULTS.inc()
            if fault.event is not None:
                cause = {"event": fault.event.id, "subject": fault.event.subject}
                ctx.emit("system.alerts.rule_failed", {"rule": fault.rule, **cause, "fault": repr(fault.error)[:500]})
        self._apply(signals, ctx)

    async def tick(self, ctx: Context) -> None:
        signals, self._ended = self._ended, []
        changed = self._book.look() and await self._load(ctx)
        if changed:
            found = {"rules": self._names(), "mistakes": self._book.mistakes_of_api[:MAX_MISTAKES]}
            ctx.emit("system.alerts.rules_loaded", {"file": self._book.file.name, **found})
        if await self._load_stored(ctx) or changed:
            self._book.warn_of_taken_over()
            signals += self._engine.replace(self._book.rules)
        if self._untold:
            self._untold = False
            mistakes = list(self._mistakes[:MAX_MISTAKES])
            ctx.emit("system.alerts.rules_rejected", {"file": self._book.file.name, "mistakes": mistakes})
        signals += self._engine.advance(self._judged_until(ctx))
        self._apply(signals, ctx)
        self._wake(ctx)
        RULES.set(len(self._engine.rules))
        MISTAKES.labels("file").set(len(self._mistakes))
        MISTAKES.labels("api").set(len(self._book.mistakes_of_api))
        AWAY.set(sum(each["fault"] is not None for each in self._stores.alertmanagers) if self._stores else 0)
        await self._keep_state(ctx)
        if self._ledger is not None and ctx.now() - self._looked >= LEFT_SECONDS:
            self._looked = ctx.now()
            ctx.commit(self._ledger.publish_left)

    @command
    async def rules(self) -> list[dict[str, Any]]:
        """Lists the rules that apply."""
        return [rule.describe() for rule in self._engine.rules.values()][:MAX_LISTED]

    @command
    async def origins(self) -> dict[str, str]:
        """Names the rules that apply, and where each stands: `file` or `api`; `disabled` are those whose text says so."""
        of_file = self._book.names_of_file
        applying = {name: "file" if name in of_file else "api" for name in self._engine.rules}
        return {**dict.fromkeys(self._book.disabled_by_text, "disabled"), **applying}

    @command
    async def standing(self) -> dict[str, Any]:
        """Says how many rules are in force, what keeps others out of it, and which Alertmanagers take alerts."""
        return {
            "file": self._book.file.name,
            "rules": len(self._engine.rules),
            "mistakes": list(self._mistakes[:MAX_MISTAKES]),
            "mistakes_of_api": self._book.mistakes_of_api[:MAX_MISTAKES],
            "alertmanagers": self._stores.alertmanagers if self._stores is not None else [],
        }

    @command
    async def described(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Describes some of the rules that apply."""
        rules = self._engine.rules
        return {name: rules[name].describe() for name in names[:MAX_DESCRIBED] if name in rules}

    @command
    async def firing(self) -> list[dict[str, Any]]:
        """Lists the alerts that are not resolved, the newest first."""
        assert self._ledger is not None
        active = [
            {**describe(record), "count": max(record.count, self._engine.count(record.rule, record.key))}
            for record in self._ledger.known.values()
            if record.is_active
        ]
        return sorted(active, key=lambda said: str(said["since"]), reverse=True)[:MAX_LISTED]

    @command
    async def validate(self, text: str) -> dict[str, Any]:
        """Reads a rule in YAML or JSON: the rule as it would be in force, or the mistakes in it."""
        try:
            rule = parse_one(text)
        except BadRules as fault:
            return {"rule": None, "mistakes": [described(mistake) for mistake in fault.mistakes[:MAX_MISTAKES]]}
        return {"rule": rule.describe(), "mistakes": [], "in_file": rule.name in self._book.names_of_file}

    @command
    async def test(self, events: list[dict[str, Any]], rules: str | None = None) -> dict[str, Any]:
        """Says what rules of a text, or those in force, would have fired of some events."""
        chosen, mistakes = self._chosen(rules)
        return {"mistakes": mistakes} if mistakes else {"mistakes": [], **await trial(chosen, events)}

    @command
    async def backtest(
        self, since: datetime, until: datetime | None = None, rules: str | None = None
    ) -> dict[str, Any]:
        """Begins to say what rules of a text, or those in force, would have fired of what is stored."""
        if self._stores is None:
            raise Reject("there is no history")
        chosen, mistakes = self._chosen(rules)
        if mistakes:
            return {"mistakes": mistakes}
        return {"mistakes": [], **self._stores.backtests.begin(chosen, since, until).describe()}

    @command
    async def backtested(self, id: str, cancel: bool = False) -> dict[str, Any]:
        """Says how far a back-test has come and what it has found, or ends it."""
        if self._stores is None:
            raise Reject("there is no history")
        jobs = self._stores.backtests
        try:
            return (jobs.cancel(id) if cancel else jobs.find(id)).describe()
        except BacktestGone as gone:
            return {"gone": str(gone)}

    def _judged_until(self, ctx: Context) -> int:
        """The time for deadlines: that of the clock, or where stored events wait, as after an outage, of the next of them."""
        horizon = ctx.horizon()
        return self._now() if horizon is None else min(horizon, self._now())

    def _chosen(self, text: str | None) -> tuple[Sequence[Rule], list[dict[str, Any]]]:
        """The rules of a text, or those in force; or the mistakes in it."""
        if text is None:
            return list(self._engine.rules.values()), []
        try:
            return rules_of(text), []
        except BadRules as fault:
            return (), [described(mistake) for mistake in fault.mistakes[:MAX_MISTAKES]]

    def _names(self) -> list[str]:
        return [rule.name for rule in self._book.rules][:MAX_LISTED]

    async def _load(self, ctx: Context) -> bool:
        """Takes the file's rules, or keeps those it has and remembers the mistakes."""
        try:
            rules = await ctx.offload(self._book.load)
        except BadRules as fault:
            self._mistakes, self._untold = tuple(map(str, fault.mistakes)), True
            log.error(
                "alert rules rejected; the previous rules stay in force",
                extra={"file": str(self._book.file), "mistakes": self._mistakes[:MAX_MISTAKES]},
            )
            return False
        self._mistakes, self._untold = (), False
        self._book.take_file(rules)
        log.info("alert rules loaded", extra={"file": str(self._book.file), "rules": len(rules)})
        return True

    async def _load_stored(self, ctx: Context) -> bool:
        """Takes the rules of the API where they have changed."""
        stored = self._stores.take_changed_rules() if self._stores is not None else None
        if stored is None:
            return False
        self._book.take_stored(await ctx.offload(self._book.read_stored, stored), stored)
        if mistakes := self._book.mistakes_of_api:
            ctx.emit("system.alerts.rules_rejected", {"file": "", "mistakes": mistakes[:MAX_MISTAKES]})
        return True

    async def _keep_state(self, ctx: Context) -> None:
        """Stores what the engine has counted, now and then: behind what it has said, and never ahead of it."""
        if self._stores is None or not self._stores.state.is_due(ctx.now()):
            return
        keeper, begun = self._stores.state, clock()
        state = self._engine.state()
        keeper.spent(ctx.now(), clock() - begun)
        if (packed := await ctx.offload(keeper.pack, state)) is not None:
            ctx.commit(lambda: keeper.write(packed))

    def _adopt(self, ctx: Context) -> None:
        """Takes up what fires, and ends the alerts whose rule is gone."""
        assert self._ledger is not None
        gone = []
        active = {(each.rule, each.key) for each in self._ledger.known.values() if each.is_active}
        for rule, key, _alert in self._engine.firing():
            if (rule, key) not in active:
                # It ended after the state was stored.
                self._ended += self._engine.close(rule, key)
        for entry, record in self._ledger.known.items():
            if not record.is_active or record.rule == ALERTMANAGER:
                continue
            if record.snoozed_until is not None:
                self._snoozed[entry] = record.snoozed_until
            adopted = self._engine.adopt(
                record.rule,
                record.key,
                alert=record.began,
                since=record.since,
                told=record.told,
                last=max(record.told, record.cause_time),
                count=record.count,
                cause=(record.cause_subject, record.cause_id, rfc3339(record.cause_time)),
                entity=record.entity,
            )
            if not adopted:
                gone.append(end(record, self._now(), "rule_removed"))
        if self._book.is_read:
            self._commit(gone, ctx)

    def _apply(self, signals: list[Signal], ctx: Context) -> None:
        changes = []
        for signal in signals:
            try:
                changes.append(change_of(signal, self._now()))
                if self._stores is not None:
                    self._stores.recordings.order(signal, self._now())
            except Exception as error:
                # Not a crash: that would lose the state of all other rules, and happen again with each such event.
                log.exception("alert rule raised an error where it is told", extra={"rule": signal.rule.name})
                RULE_FAULTS.inc()
                ctx.emit("system.alerts.rule_failed", {"rule": signal.rule.name, "fault": repr(error)[:500]})
        self._commit(changes, ctx)

    def _wake(self, ctx: Context) -> None:
        assert self._ledger is not None
        now = self._now()
        due = [entry for entry, until in self._snoozed.items() if until <= now]
        records = [record for entry in due if (record := self._ledger.known.get(entry)) is not None]
        self._commit([woken(record, now) for record in records], ctx)

    def _commit(self, changes: list[AlertChange], ctx: Context) -> None:
        if changes and (ledger := self._ledger) is not None:
            ctx.commit(lambda: write(ledger, changes))

    def _record_changed(self, record: AlertRecord | None, entry: str) -> None:
        """Follows what people do to alerts."""
        if record is not None and record.snoozed_until is not None:
            self._snoozed[entry] = record.snoozed_until
        else:
            self._snoozed.pop(entry, None)
        if record is not None and record.reason == PERSON:
            self._ended += self._engine.close(record.rule, record.key)
