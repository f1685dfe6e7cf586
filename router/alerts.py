"""Defines the record of an alert and its transitions: firing → acknowledged, snoozed or dismissed → resolved.

Each transition is a pure function: it takes a record and returns the next one, or the same object where nothing changes.
A transition that readers are told of puts its event into the record's `outbox`, so that the state and the event are stored by
one write. `router.alert_store` publishes what lies there and takes it out again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from router.codec import rfc3339
from router.errors import BadInput
from router.event import Event
from router.subject import Subject, escape

State = Literal["firing", "acknowledged", "snoozed", "dismissed", "resolved"]
STATES: tuple[State, ...] = ("firing", "acknowledged", "snoozed", "dismissed", "resolved")
# What a rule and an Alertmanager's alert may say.
SEVERITIES = ("info", "warning", "critical")
Step = Literal["fired", "acknowledged", "snoozed", "woke", "dismissed", "resolved"]

# The source of every event of an alert, whoever made the transition.
SOURCE = "alerts"
# The rule of the alerts that an Alertmanager posts to us; no rule of our own may have its name.
ALERTMANAGER = "alertmanager"
# Why an alert is resolved that somebody, or the receiver of a webhook, has resolved.
PERSON = "person"
# Rules begin with a letter, so no rule's events lie under a user's entity.
USER_MARK = "_"
# What one alert remembers of its past; the oldest steps but the first are dropped.
MAX_HISTORY = 50
# Events that are stored and not published yet. A record with so many is published before it takes another transition.
MAX_OUTBOX = 20
MAX_COMMENT = 500
# A person's snooze, in seconds: up to thirty days.
MAX_SNOOZE = 30 * 86_400.0
NS = 1_000_000_000

is_user = re.compile(r"[A-Za-z0-9_.:@-]{1,64}\Z").match
_ID = re.compile(r"[A-Za-z0-9_=-]{1,200}\.[0-9a-f]{32}\.[0-9a-f]{12}\Z")


class AlertRefused(BadInput):
    """an alert in that state does not allow this"""

    code = "alert_refused"


class AlertResolved(AlertRefused):
    """the alert is resolved"""

    code = "alert_resolved"


class HistoryStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step in the life of an alert: what, when (ns), and by whom where a person or a webhook made it."""

    what: Step
    at: int
    by: str | None = None
    comment: str | None = None
    until: int | None = None
    reason: str | None = None


class PendingEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that may not have been published yet. `written` is its time, and when the record was changed (wall clock, ns)."""

    number: int
    state: State
    written: int
    data: dict[str, Any]
    cause: str | None = None
    test: bool = False


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert: the newest episode of one rule and one dedup key. Times are ns since the epoch.

    `since`, `told` and `ended` are times of events; the steps of people are times of the wall clock.
    """

    id: str
    rule: str
    key: str
    state: State
    severity: str
    category: str
    entity: str
    title: str
    since: int
    updated: int
    message: str = ""
    value: Any = None
    count: int = 1
    told: int = 0
    ended: int = 0
    audience: tuple[str, ...] = ()
    actions: tuple[dict[str, Any], ...] = ()
    labels: dict[str, str] = {}
    snoozed_until: int | None = None
    reason: str | None = None
    cause_subject: str = ""
    cause_id: str = ""
    cause_time: int = 0
    test: bool = False
    # What names the episode to whoever found it.
    began: str = ""
    numbered: int = 0
    history: tuple[HistoryStep, ...] = ()
    outbox: tuple[PendingEvent, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it is not resolved."""
        return self.state != "resolved"


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """What fires: a rule's finding about one key, at the time of an event (ns)."""

    rule: str
    key: str
    at: int
    severity: str
    category: str
    entity: str
    title: str
    message: str = ""
    value: Any = None
    count: int = 1
    audience: tuple[str, ...] = ()
    actions: tuple[dict[str, Any], ...] = ()
    labels: dict[str, str] = {}
    cause: Event | None = None
    # Names the episode that goes on or would begin: the same after a second run over the same events.
    began: str = ""
    test: bool = False

    @property
    def episode(self) -> str:
        """What names the episode, or the event that begins it."""
        return self.began or _identity(self.cause) or str(self.at)

    @property
    def id(self) -> str:
        """The id of the alert that this would begin."""
        return alert_id(self.rule, self.key, self.episode)


def entry_key(rule: str, key: str) -> str:
    """Names the entry of a rule and a dedup key in the bucket."""
    return f"{escape(rule)}.{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def alert_id(rule: str, key: str, began: str) -> str:
    """Names an episode: its entry, and a digest of what began it."""
    return f"{entry_key(rule, key)}.{hashlib.sha256(began.encode()).hexdigest()[:12]}"


def entry_of(id: str) -> str:
    """Names the entry of an alert's id; "" where it can be none."""
    return id.rpartition(".")[0] if _ID.match(id) else ""


def channel_of(user: str) -> str:
    """The pattern of a user's channel of alerts, which a token of that user may always read."""
    return f"alert.{escape(USER_MARK + user)}.>"


def subjects(rule: str, audience: Iterable[str], state: str) -> tuple[Subject, ...]:
    """Where an alert is told: of its rule, or where it has an audience, in each member's channel and nowhere else."""
    members = tuple(dict.fromkeys(audience))
    if not members:
        return (Subject.of("alert", rule, state),)
    return tuple(Subject.of("alert", USER_MARK + member, rule, state) for member in members)


# What rules find


def fire(record: AlertRecord | None, firing: Firing, now: int) -> AlertRecord:
    """Begins an episode, or counts on in the one that goes on."""
    if record is not None and record.is_active:
        return _count_on(record, firing, now)
    if record is not None and (record.id == firing.id or firing.at < _closed(record)):
        # An event that was delivered again, after the episode that it began or belonged to has ended.
        return record
    begun = AlertRecord(
        id=firing.id,
        rule=firing.rule,
        key=firing.key,
        began=firing.episode,
        state="firing",
        since=firing.at,
        updated=now,
        history=(HistoryStep("fired", firing.at),),
        # Those of the episode before that are not published yet; their data names it.
        outbox=record.outbox if record is not None else (),
        **_found(firing),
    )
    return _tell(begun, firing.at, now)


def _closed(record: AlertRecord) -> int:
    """From when on (ns, event time) what fires is another episode than the one that a record has ended."""
    # A person's time is that of our clock: events of a producer whose clock is behind must not be lost for it.
    return min(record.cause_time, record.ended) if record.reason == PERSON else record.ended


def _count_on(record: AlertRecord, firing: Firing, now: int) -> AlertRecord:
    if _caused_by(record, firing.cause) or (firing.cause is None and firing.at <= record.told):
        return record
    changed = replace(record, updated=now, **_found(firing))
    # Whoever acknowledged, snoozed or dismissed it has said that they know.
    return _tell(changed, firing.at, now) if record.state == "firing" else changed


def resolve(
    record: AlertRecord | None,
    at: int,
    now: int,
    reason: str,
    cause: Event | None = None,
    by: str | None = None,
    comment: str | None = None,
    count: int = 0,
) -> AlertRecord | None:
    """Ends an episode, at the time of an event or of a person's wish (ns); None where there is none."""
    if record is None or not record.is_active:
        return record
    changed = _step(record, "resolved", at, by=by, comment=comment, reason=reason)
    # An event from the future shall not keep the alert from firing again.
    ended = min(at, now)
    changed = replace(changed, state="resolved", ended=ended, updated=now, reason=reason, snoozed_until=None)
    if count:
        changed = replace(changed, count=count)
    if cause is not None:
        changed = replace(changed, **_cause(cause))
    return _tell(changed, at, now, by=by, comment=comment)


def wake(record: AlertRecord, now: int) -> AlertRecord:
    """Ends a snooze whose time is over: the alert fires again."""
    if record.state != "snoozed" or record.snoozed_until is None or record.snoozed_until > now:
        return record
    return _woken(record, now)


def _woken(record: AlertRecord, now: int, by: str | None = None, comment: str | None = None) -> AlertRecord:
    changed = _step(record, "woke", now, by=by, comment=comment)
    return _tell(replace(changed, state="firing", updated=now, snoozed_until=None), now, now, by=by, comment=comment)


# What people and webhooks do


def act(
    record: AlertRecord, what: str, by: str, now: int, comment: str | None = None, until: int | None = None
) -> AlertRecord:
    """Acknowledges, snoozes, unsnoozes, dismisses or resolves an alert. Raises AlertRefused.

    A repeat changes nothing: a client that got no answer may ask again.
    """
    if what == "resolve":
        resolved = resolve(record, now, now, PERSON, by=by, comment=comment)
        assert resolved is not None
        return resolved
    if not record.is_active:
        raise AlertResolved(f"the alert was resolved at {rfc3339(record.ended)}; nothing is left to {what}")
    if record.state == "dismissed" and what != "dismiss":
        raise AlertRefused(f"the alert is dismissed and stays silent until it is resolved; it takes no {what}")
    if what == UNSNOOZE:
        return _woken(record, now, by, comment) if record.state == "snoozed" else record
    state = _ACTIONS[what]
    if record.state == state and (state != "snoozed" or record.snoozed_until == until):
        return record
    if state == "snoozed" and (until is None or until <= now):
        raise AlertRefused("a snooze needs a time that lies ahead")
    changed = _step(record, state, now, by=by, comment=comment, until=until if state == "snoozed" else None)
    changed = replace(changed, state=state, updated=now, snoozed_until=until if state == "snoozed" else None)
    return _tell(changed, now, now, by=by, comment=comment)


_ACTIONS: Mapping[str, Literal["acknowledged", "snoozed", "dismissed"]] = {
    "acknowledge": "acknowledged",
    "snooze": "snoozed",
    "dismiss": "dismissed",
}
ACTIONS = (*_ACTIONS, "resolve")
# Who may snooze may do this; so it needs no grant of its own.
UNSNOOZE = "unsnooze"


# Events


def confirm(record: AlertRecord, published: Iterable[PendingEvent]) -> AlertRecord:
    """Takes events out of the outbox that were published."""
    gone = {(str(each.data.get("alert")), each.number) for each in published}
    left = tuple(each for each in record.outbox if (str(each.data.get("alert")), each.number) not in gone)
    return record if len(left) == len(record.outbox) else replace(record, outbox=left)


def events(pending: PendingEvent) -> list[Event]:
    """The events of one entry of an outbox: one, or one for each member of the audience. Their ids are always the same."""
    data = pending.data
    id = f"{data['alert']}.{pending.number}"
    targets = subjects(str(data["rule"]), data["audience"], pending.state)
    return [
        Event.new(
            subject,
            data,
            source=SOURCE,
            id=id if len(targets) == 1 else f"{id}.{place}",
            key=str(data["alert"]),
            cause=pending.cause,
            time_ns=pending.written,
            test=pending.test,
        )
        for place, subject in enumerate(targets, 1)
    ]


def describe(record: AlertRecord, history: bool = False) -> dict[str, Any]:
    """Tells of an alert as events and answers do; times are RFC 3339."""
    shown: dict[str, Any] = {
        "alert": record.id,
        "rule": record.rule,
        "key": record.key,
        "state": record.state,
        "severity": record.severity,
        "category": record.category,
        "title": record.title,
        "message": record.message,
        "entity": record.entity,
        "value": record.value,
        "count": record.count,
        "since": rfc3339(record.since),
        "told": rfc3339(record.told),
        "updated": rfc3339(record.updated),
        "snoozed_until": rfc3339(record.snoozed_until) if record.snoozed_until else None,
        "ended": rfc3339(record.ended) if record.ended else None,
        "reason": record.reason,
        "actions": list(record.actions),
        "audience": list(record.audience),
        "cause_subject": record.cause_subject,
        "cause_id": record.cause_id,
        "cause_time": rfc3339(record.cause_time),
    }
    if record.labels:
        shown["labels"] = record.labels
    if history:
        shown["history"] = [_shown_step(step) for step in record.history]
    return shown


# Pages


class BadPlace(BadInput):
    """a cursor must be the `next` of a page of alerts"""

    code = "bad_cursor"


Place = tuple[int, str]
"""Where an alert stands in a list, the newest first: when it began, and its id."""


def place_of(record: AlertRecord) -> Place:
    """The place of an alert in a list; it stays the same as long as the episode lasts."""
    return (record.since, record.id)


def write_place(place: Place) -> str:
    """Writes the cursor of the alerts behind a place."""
    return base64.urlsafe_b64encode(f"{place[0]}:{place[1]}".encode()).decode().rstrip("=")


def read_place(text: str) -> Place:
    """Reads such a cursor. Raises BadPlace."""
    try:
        since, _, id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
        place = (int(since), id)
    except (ValueError, UnicodeError):
        raise BadPlace from None
    if not _ID.match(id):
        raise BadPlace
    return place


def _shown_step(step: HistoryStep) -> dict[str, Any]:
    shown = {"what": step.what, "at": rfc3339(step.at), "by": step.by, "comment": step.comment, "reason": step.reason}
    if step.until is not None:
        shown["until"] = rfc3339(step.until)
    return {name: value for name, value in shown.items() if value is not None}


def _tell(record: AlertRecord, time: int, now: int, by: str | None = None, comment: str | None = None) -> AlertRecord:
    """Puts the event of a transition into the outbox."""
    record = replace(record, numbered=record.numbered + 1, told=max(record.told, min(time, now)))
    data = describe(record) | ({"by": by} if by else {}) | ({"comment": comment} if comment else {})
    pending = PendingEvent(record.numbered, record.state, now, data, record.cause_id or None, record.test)
    return replace(record, outbox=(*record.outbox, pending))


def _step(record: AlertRecord, what: Step, at: int, **more: Any) -> AlertRecord:
    history = (*record.history, HistoryStep(what, at, **more))
    if len(history) > MAX_HISTORY:
        history = (history[0], *history[2:])
    return replace(record, history=history)


def _found(firing: Firing) -> dict[str, Any]:
    found = {name: getattr(firing, name) for name in _FOUND}
    return found | (_cause(firing.cause) if firing.cause is not None else {})


_FOUND = (
    *("severity", "category", "entity", "title", "message", "value", "count"),
    *("audience", "actions", "labels", "test"),
)


def _cause(event: Event) -> dict[str, Any]:
    return {"cause_subject": str(event.subject), "cause_id": event.id, "cause_time": event.time}


def _caused_by(record: AlertRecord, event: Event | None) -> bool:
    return event is not None and _cause(event) == {name: getattr(record, name) for name in _cause(event)}


def _identity(event: Event | None) -> str:
    """Names an event; its id alone is chosen by its publisher, and another publisher may choose the same."""
    return "" if event is None else f"{event.subject}\n{event.id}\n{event.time}"
