"""Takes over the alerts of the version before, which kept them nowhere but in their events `alert.<rule>.firing|resolved`.

Once per bucket ALERTS: the newest episode of each rule and dedup key becomes a record, where the bucket has none, and no event
is published for it. Events of today's format, which name a `state`, are not taken over: who wrote them has a record.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from datetime import datetime
from typing import Annotated, Any

import msgspec

from actors.alerts.backtest import nanoseconds
from actors.alerts.ledger import AlertChange, AlertLedger, value_of, write
from router.alert_store import KEEP_RESOLVED
from router.alerts import ALERTMANAGER, SOURCE, AlertRecord, HistoryStep, alert_id, entry_key
from router.broker import Broker
from router.codec import rfc3339
from router.errors import BadInput, BrokerError
from router.event import Event
from router.nats.bucket import Bucket
from router.replay import Replay
from router.subject import Subject
from router.topology import ALERTS

log = logging.getLogger(__name__)

# Says that it was done. Three tokens, so that readers of alerts do not look at it.
DONE = "engine.import.done"
# As many as that version remembered; of those that were resolved, the last ones.
MAX_FIRING = 10_000
MAX_RESOLVED = 1_000
# What ended an alert by an event, which it names as its cause since.
_BY_EVENT = ("resolve_when", "forgotten")
# Bytes of an alert, of which that version wrote some 10 KiB at most.
MAX_ALERT = 65_536
NS = 1_000_000_000

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Place = tuple[str, str]


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """The data of an event of that version, as far as a record holds them."""

    rule: str
    key: str
    alert: str
    severity: str
    category: str
    title: str
    message: str
    entity: str
    count: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    since: _Moment
    told: _Moment
    cause_time: _Moment
    cause_subject: str
    cause_id: str
    value: Any = None
    reason: str | None = None
    actions: tuple[dict[str, Any], ...] = ()
    audience: tuple[str, ...] = ()


class PastAlerts:
    """The newest episode of each rule and dedup key, of events in the order in which they were stored."""

    def __init__(self, firing: int = MAX_FIRING, resolved: int = MAX_RESOLVED) -> None:
        """`firing` and `resolved` bound how many are kept; the ones told first are left out."""
        self.left_out = 0
        self._firing: OrderedDict[_Place, AlertRecord] = OrderedDict()
        self._resolved: OrderedDict[_Place, AlertRecord] = OrderedDict()
        self._limits = firing, resolved

    def take(self, event: Event) -> None:
        """Takes an event; one that is no alert changes nothing."""
        if event.source != SOURCE:
            return
        if "state" in event.data:
            # Its episode has a record, or had one.
            place = str(event.data.get("rule")), str(event.data.get("key"))
            self._firing.pop(place, None)
            self._resolved.pop(place, None)
        elif event.type in ("firing", "resolved"):
            record = read(event)
            if record is not None:
                self._put((record.rule, record.key), record)

    def records(self, now: int) -> list[AlertRecord]:
        """Those that fire, and those that were resolved within a week before `now` (ns)."""
        oldest = now - KEEP_RESOLVED * NS
        return [*self._firing.values(), *(each for each in self._resolved.values() if each.updated > oldest)]

    def _put(self, place: _Place, record: AlertRecord) -> None:
        firing, ended = self._firing.get(place), self._resolved.get(place)
        if record.is_active:
            if ended is not None and ended.began == record.began:
                return  # said again after its end, by whoever got its cause again
            self._resolved.pop(place, None)
            self._firing[place] = record
            self._firing.move_to_end(place)
            if len(self._firing) > self._limits[0]:
                self._firing.popitem(last=False)
                self.left_out += 1
            return
        if firing is not None and firing.began != record.began:
            return  # the end of an older alert than the one that fires
        self._firing.pop(place, None)
        self._resolved[place] = record
        self._resolved.move_to_end(place)
        if len(self._resolved) > self._limits[1]:
            self._resolved.popitem(last=False)


def read(event: Event) -> AlertRecord | None:
    """The record of an alert as that version told of it; None for what it cannot have told.

    The alert's name there is the name of the episode here, so that a cause that is delivered again begins no other one.
    """
    try:
        told = msgspec.convert(event.data, _Told)
        fits = event.subject == Subject.of("alert", told.rule, event.type) and told.rule != ALERTMANAGER
        if fits and len(msgspec.json.encode(event.data, enc_hook=str)) <= MAX_ALERT:
            return _record(told, event)
        fault = "it is too large, or its rule is not that of its subject"
    except (BadInput, ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        fault = str(error)
    log.warning(
        "stored alert of an earlier version is invalid and is not taken over",
        extra={"event": event.id, "subject": event.subject, "fault": fault[:200]},
    )
    return None


def _record(told: _Told, event: Event) -> AlertRecord:
    since, cause_time = nanoseconds(told.since), nanoseconds(told.cause_time)
    resolved = event.type == "resolved"
    ended = min(cause_time, event.time) if told.reason in _BY_EVENT else event.time
    history = [HistoryStep("fired", since)]
    if resolved:
        history.append(HistoryStep("resolved", ended, reason=told.reason))
    copied = ("rule", "key", "severity", "category", "title", "message", "entity", "count", "actions", "audience")
    return AlertRecord(
        id=alert_id(told.rule, told.key, told.alert),
        began=told.alert,
        state="resolved" if resolved else "firing",
        since=since,
        updated=event.time,
        told=min(nanoseconds(told.told), event.time),
        ended=ended if resolved else 0,
        reason=told.reason if resolved else None,
        value=value_of(told.value),
        cause_subject=told.cause_subject,
        cause_id=told.cause_id,
        cause_time=cause_time,
        test=event.test,
        history=tuple(history),
        **{name: getattr(told, name) for name in copied},
    )


async def take_over(broker: Broker, ledger: AlertLedger, now: int, limit: float) -> int:
    """Takes over what the stored events say, unless that was done; returns how many alerts were found.

    `now` is ns, `limit` in seconds. Where the events cannot be read or the records not be written in that time, the actor
    starts without them, and its next start tries again.
    """
    marks = Bucket(broker.connection, ALERTS)
    try:
        async with asyncio.timeout(limit):
            mark = await marks.latest(DONE)
            if mark is not None and mark.value:
                return 0
            past = await _read_past(broker)
            records = past.records(now)
            await write(ledger, [_new(record) for record in records])
            told = {"at": rfc3339(now), "alerts": len(records), "left_out": past.left_out}
            await marks.put(DONE, msgspec.json.encode(told))
    except (BrokerError, TimeoutError) as fault:
        log.warning(
            "alerts of an earlier version could not be taken over; the next start of the alerts actor tries again",
            extra={"fault": str(fault) or f"not done within {limit:g} s"},
        )
        return 0
    if records or past.left_out:
        log.info("alerts of an earlier version were taken over", extra=told)
    return len(records)


def _new(record: AlertRecord) -> AlertChange:
    """Writes a record where there is none."""

    def made(known: AlertRecord | None) -> AlertRecord:
        return record if known is None else known

    return AlertChange(entry_key(record.rule, record.key), record.rule, made)


async def _read_past(broker: Broker) -> PastAlerts:
    past, patterns, replay = PastAlerts(), ("alert.>",), Replay(broker)
    state = await broker.events_state()
    replay.layout = state.layout
    at, more = state.begin, True
    while more and at.behind(state.last):
        stretch = await replay.stretch(patterns, at, state.last)
        for record in stretch.records:
            if record.event is not None:
                past.take(record.event)
        # Pages are kept for readers who come back; here nobody does.
        replay.forget()
        await asyncio.sleep(0)
        at, more = at.joined(stretch.upto), stretch.more
    return past
