"""Writes what the engine says into the records of alerts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from prometheus_client import Counter

from actors.alerts.engine import Signal
from actors.alerts.template import shown
from router.alerts import AlertRecord, Firing, entry_key, fire, resolve, wake
from router.errors import Refused

log = logging.getLogger(__name__)

REFUSED = Counter(
    "actors_alerts_refused_total", "Changes of alerts that the store refused for good, such as a full one"
)

# Alerts that are written at the same time.
MAX_WRITING = 32

Transition = Callable[[AlertRecord | None], AlertRecord | None]


class AlertLedger(Protocol):
    """What the actor needs to know of the store of alerts: `router.alert_store`, or a fake in tests."""

    @property
    def known(self) -> Mapping[str, AlertRecord]:
        """Every alert by the name of its entry."""
        ...

    async def change_entry(self, key: str, transition: Transition) -> AlertRecord | None:
        """Applies a transition and publishes its event. Raises BrokerError."""
        ...

    async def publish_left(self) -> int:
        """Publishes what others have written and not published. Raises BrokerError."""
        ...


class AlertChange(NamedTuple):
    """A transition of one alert; repeating it changes nothing."""

    entry: str
    rule: str
    apply: Transition


def change_of(signal: Signal, now: int) -> AlertChange:
    """The transition that a signal of the engine stands for; `now` is ns of the wall clock."""
    rule, key = signal.rule.name, signal.key
    if signal.kind == "resolved":
        reason = signal.reason or "ended"

        def ended(record: AlertRecord | None) -> AlertRecord | None:
            return resolve(record, signal.at, now, reason, signal.event, count=signal.count)

        return AlertChange(entry_key(rule, key), rule, ended)
    firing = firing_of(signal)
    return AlertChange(entry_key(rule, key), rule, lambda record: fire(record, firing, now))


def end(record: AlertRecord, now: int, reason: str) -> AlertChange:
    """The end of an alert for a reason that no event has."""
    return AlertChange(entry_key(record.rule, record.key), record.rule, lambda known: resolve(known, now, now, reason))


def woken(record: AlertRecord, now: int) -> AlertChange:
    """The end of a snooze."""

    def woke(known: AlertRecord | None) -> AlertRecord | None:
        return wake(known, now) if known is not None else None

    return AlertChange(entry_key(record.rule, record.key), record.rule, woke)


def firing_of(signal: Signal) -> Firing:
    """What a signal says that fires."""
    rule, scope = signal.rule, signal.scope
    return Firing(
        rule=rule.name,
        key=signal.key,
        at=signal.at,
        severity=rule.severity.value,
        category=rule.category,
        entity=str(scope.get("entity", signal.key)),
        title=rule.title.fill(scope, 200),
        message=rule.message.fill(scope, 1000),
        value=value_of(signal.value),
        count=signal.count,
        audience=rule.audience,
        actions=tuple(action.describe(scope) for action in rule.actions),
        cause=signal.event,
        began=signal.alert,
        test=signal.event.test if signal.event is not None else False,
    )


def value_of(value: Any) -> Any:
    """A value as a record can hold it: a number, or a text in bounds."""
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    return shown(value)


async def write(ledger: AlertLedger, changes: Iterable[AlertChange]) -> None:
    """Makes changes, those of one alert in their order. Raises BrokerError where NATS is away; repeat it then.

    One that the store refuses for good, as a full one does, is logged and left out: it must not end all others.
    """
    by_entry: dict[str, list[AlertChange]] = {}
    for change in changes:
        by_entry.setdefault(change.entry, []).append(change)
    lots = list(by_entry.values())
    for first in range(0, len(lots), MAX_WRITING):
        lot = lots[first : first + MAX_WRITING]
        answers = await asyncio.gather(*(_in_order(ledger, each) for each in lot), return_exceptions=True)
        for fault in answers:
            if isinstance(fault, BaseException):
                raise fault


async def _in_order(ledger: AlertLedger, changes: list[AlertChange]) -> None:
    for change in changes:
        try:
            await ledger.change_entry(change.entry, change.apply)
        except Refused as refusal:
            REFUSED.inc()
            log.error(
                "change of an alert was refused by the store and is lost",
                extra={"rule": change.rule, "alert": change.entry, "fault": str(refusal)},
            )
