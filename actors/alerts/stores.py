"""Holds what one incarnation of the alerts actor keeps in NATS: alerts, rules, back-tests, and the feeds of Alertmanagers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from actors.alerts.alertmanager import AlertmanagerFeed, AlertmanagerSettings
from actors.alerts.keeper import StateKeeper
from actors.alerts.record import RuleRecordings
from actors.alerts.takeover import take_over
from actors.alerts.trials import Backtests
from actors.system.context import Context
from actors.system.runtime import BrokerRuntime
from router.alert_store import AlertStore
from router.alerts import AlertRecord
from router.rule_store import RuleStore, StoredRule

# So long a start waits for the alerts and the rules that are stored; then the actor is restarted, and waits again.
READ_SECONDS = 25.0


class Stores:
    """The stored alerts and rules of one incarnation, and the changes of them that it has not looked at yet."""

    def __init__(
        self, ctx: Context, changed: Callable[[AlertRecord | None, str], None], alertmanager: AlertmanagerSettings
    ) -> None:
        runtime = ctx._runtime
        assert isinstance(runtime, BrokerRuntime)
        self.ledger = AlertStore(runtime.broker, changed=self._alert_changed)
        self._broker = runtime.broker
        self._changed = changed
        self._feeds = [AlertmanagerFeed(url, alertmanager, lambda: self.ledger.known) for url in alertmanager.urls]
        self.state = StateKeeper(runtime.broker, ctx.instance)
        self.rules = RuleStore(runtime.broker, changed=self._rules_changed)
        self._changed_rules = True
        self.recordings = RuleRecordings(ctx, runtime.broker.connection)
        self.backtests = Backtests(runtime.broker, lambda name, run: ctx.source(name, run, None))
        ctx.source("alerts", lambda _beat: self.ledger.run(), None)
        ctx.source("rules", lambda _beat: self.rules.run(), None)
        for number, feed in enumerate(self._feeds, 1):
            ctx.source(f"alertmanager {number}", feed.run, None)

    async def read(self, now: int) -> None:
        """Returns once all alerts and rules are known, with those of an earlier version. Raises TimeoutError. `now` is ns."""
        clock = asyncio.get_running_loop().time
        until = clock() + READ_SECONDS
        async with asyncio.timeout_at(until):
            await self.ledger.ready.wait()
            await self.rules.ready.wait()
        await take_over(self._broker, self.ledger, now, until - clock())

    @property
    def alertmanagers(self) -> list[dict[str, Any]]:
        """How each Alertmanager stands."""
        return [feed.describe() for feed in self._feeds]

    def take_changed_rules(self) -> Mapping[str, StoredRule] | None:
        """The stored rules, where they have changed since the last call."""
        changed, self._changed_rules = self._changed_rules, False
        return dict(self.rules.known) if changed else None

    def _alert_changed(self, record: AlertRecord | None, entry: str) -> None:
        self._changed(record, entry)
        if record is not None:
            for feed in self._feeds:
                feed.change(record)

    def _rules_changed(self) -> None:
        self._changed_rules = True
