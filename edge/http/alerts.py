"""Handlers of alerts: list, read, acknowledge, snooze, unsnooze, dismiss, resolve."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge.auth.grants import Grants
from edge.auth.principal import Principal
from edge.errors import Problem, read_as
from edge.http.bodies.alerts import MAX_VALUES, ActRequest, AlertAnswer, AlertsAnswer, AlertsQuery, SnoozeRequest
from edge.http.body import edge_of, json_answer, read_json, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.alert_store import AlertStore
from router.alerts import (
    MAX_SNOOZE,
    NS,
    SEVERITIES,
    STATES,
    UNSNOOZE,
    AlertRecord,
    AlertRefused,
    act,
    describe,
    entry_of,
    place_of,
    read_place,
    subjects,
    write_place,
)
from router.clock import wall
from router.cursor import parse_time
from router.errors import BadCursor

# Seconds without a unit, or one number of each unit or of some.
_DURATION = re.compile(r"(\d{1,9}(\.\d{1,9})?|(\d{1,9}(\.\d{1,9})?[smhd])+)\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_ACT = ("alert_not_found", "alert_resolved", "alert_refused", "not_granted")


@dataclass(frozen=True)
class Chosen:
    """Which alerts a list shows; None for a field that is not asked for."""

    fields: tuple[tuple[str, frozenset[str]], ...]

    def shows(self, record: AlertRecord) -> bool:
        """Whether an alert is among them."""
        return all(
            bool(wanted & frozenset(record.audience)) if name == "audience" else getattr(record, name) in wanted
            for name, wanted in self.fields
        )


@operation(
    "List alerts of every state: all that fire, and those that were resolved within a week",
    Answer(200, "A page, those that began last first", AlertsAnswer),
    query=AlertsQuery,
    problems=("bad_cursor",),
)
async def list_alerts(request: Request) -> Response:
    query = read_query(request, AlertsQuery)
    chosen, grants = chosen_by(query), principal_of(request.scope).grants
    behind = read_place(query.cursor) if query.cursor else None
    found = [each for each in await edge_of(request).alerts.all() if chosen.shows(each) and may_see(grants, each)]
    found.sort(key=place_of, reverse=True)
    page = [each for each in found if behind is None or place_of(each) < behind]
    more = len(page) > query.limit
    page = page[: query.limit]
    shown = [shown_alert(each) for each in page]
    return json_answer(
        {"alerts": shown, "next": write_place(place_of(page[-1])) if more else None, "total": len(found)}
    )


@operation("Read an alert with its history", Answer(200, "The alert", AlertAnswer), problems=("alert_not_found",))
async def read_alert(request: Request) -> Response:
    return json_answer(shown_alert(await _find(request), history=True))


@operation(
    "Acknowledge an alert: somebody works on it, and it is not told again while it fires",
    Answer(200, "The alert", AlertAnswer),
    body=ActRequest,
    problems=_ACT,
)
async def acknowledge_alert(request: Request) -> Response:
    return await _act(request, "acknowledge")


@operation(
    "Snooze an alert: it is silent until then, and fires again where it has not ended meanwhile",
    Answer(200, "The alert", AlertAnswer),
    body=SnoozeRequest,
    body_required=True,
    problems=(*_ACT, "missing_field"),
)
async def snooze_alert(request: Request) -> Response:
    return await _act(request, "snooze")


@operation(
    "End the snooze of an alert: it fires again; takes the right to snooze it",
    Answer(200, "The alert", AlertAnswer),
    body=ActRequest,
    problems=_ACT,
)
async def unsnooze_alert(request: Request) -> Response:
    return await _act(request, UNSNOOZE)


@operation(
    "Dismiss an alert: it stays silent until it is resolved",
    Answer(200, "The alert", AlertAnswer),
    body=ActRequest,
    problems=_ACT,
)
async def dismiss_alert(request: Request) -> Response:
    return await _act(request, "dismiss")


@operation(
    "Resolve an alert by hand; it fires anew as soon as its rule matches again, or its Alertmanager posts it as firing",
    Answer(200, "The alert", AlertAnswer),
    body=ActRequest,
    problems=_ACT,
)
async def resolve_alert(request: Request) -> Response:
    return await _act(request, "resolve")


async def _act(request: Request, what: str) -> Response:
    principal = principal_of(request.scope)
    record = await _find(request)
    require_act(principal, record, "snooze" if what == UNSNOOZE else what)
    comment, until = read_wish(await read_json(request), what)
    done = await change(edge_of(request).alerts, record.id, what, principal.user or "anonymous", comment, until)
    return json_answer(shown_alert(done, history=True))


async def _find(request: Request) -> AlertRecord:
    id = request.path_params["id"]
    record = await edge_of(request).alerts.find(id)
    if record is None or not may_see(principal_of(request.scope).grants, record):
        raise unknown_alert(id)
    return record


def read_wish(body: Any, what: str) -> tuple[str | None, int | None]:
    """The comment of a request, and until when (ns) a snooze lasts. Raises Problem."""
    if what != "snooze":
        return read_as(body, ActRequest).comment, None
    return wish_of(read_as(body, SnoozeRequest), what, wall.now_ns())


def wish_of(wish: SnoozeRequest, what: str, now: int) -> tuple[str | None, int | None]:
    """The comment, and until when (ns) a snooze lasts that begins at `now`. Raises Problem."""
    if what != "snooze":
        if wish.duration is not None or wish.until is not None:
            raise Problem("bad_body", "for and until are for a snooze", field="for")
        return wish.comment, None
    if (wish.duration is None) == (wish.until is None):
        raise Problem("missing_field", "a snooze needs either for (seconds, or 10m) or until (a time)", field="for")
    if wish.duration is not None:
        return wish.comment, now + int(_seconds(wish.duration) * NS)
    try:
        until = int(parse_time(wish.until or "").timestamp() * NS)
    except BadCursor:
        raise Problem("bad_body", "until: must be RFC 3339, or seconds since the epoch", field="until") from None
    if not now < until <= now + MAX_SNOOZE * NS:
        raise Problem("bad_body", f"until: must lie ahead, by {MAX_SNOOZE:.0f} seconds at most", field="until")
    return wish.comment, until


def _seconds(duration: float | str) -> float:
    """Reads how long a snooze lasts. Raises Problem."""
    if isinstance(duration, str):
        parts = _PART.findall(duration)
        if not _DURATION.match(duration):
            raise Problem("bad_body", "for: must be seconds, or a duration such as 90s, 10m or 1h30m", field="for")
        duration = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 1 <= duration <= MAX_SNOOZE:
        raise Problem("bad_body", f"for: must be between 1 and {MAX_SNOOZE:.0f} seconds", field="for")
    return duration


async def change(store: AlertStore, id: str, what: str, by: str, comment: str | None, until: int | None) -> AlertRecord:
    """Makes a person's or a webhook's transition of an alert. Raises Problem or BrokerError."""

    def transition(known: AlertRecord | None) -> AlertRecord:
        if known is None or known.id != id:
            raise _Gone
        return act(known, what, by, wall.now_ns(), comment, until)

    try:
        done = await store.change_entry(entry_of(id), transition)
    except _Gone:
        raise unknown_alert(id) from None
    assert done is not None
    return done


class _Gone(AlertRefused):
    """the alert is not kept any more, or a newer one took its place"""


def require_act(principal: Principal, record: AlertRecord, what: str) -> None:
    """Raises Problem where a principal may not do this: whom the alert concerns may, and who may command it."""
    if principal.user not in record.audience:
        principal.require_command(f"alerts.main.{what}")


def may_see(grants: Grants, record: AlertRecord) -> bool:
    """Whether somebody may read an alert: where they may read its events."""
    return grants.operate or any(grants.may_read(each) for each in subjects(record.rule, record.audience, record.state))


def unknown_alert(id: str) -> Problem:
    """The problem of an alert that does not exist or is not for the principal, which look the same."""
    return Problem("alert_not_found", f"no alert {id[:80]!r}; a newer one may have taken its place")


def shown_alert(record: AlertRecord, history: bool = False) -> dict[str, Any]:
    """An alert as answers show it."""
    shown = describe(record, history)
    status = "firing" if record.is_active else "resolved"
    return {"id": shown.pop("alert"), **shown, "status": status, "timestamp": shown["updated"]}


def chosen_by(query: AlertsQuery) -> Chosen:
    """What a query asks for. Raises Problem."""
    fields = []
    for name, check in _FILTERS.items():
        text = getattr(query, name)
        if text is None:
            continue
        values = frozenset(each.strip() for each in text.split(",") if each.strip())
        if not values or len(values) > MAX_VALUES:
            raise Problem("bad_parameter", f"{name}: give 1 to {MAX_VALUES} values", field=name)
        fields.append((name, frozenset(check(values))))
    return Chosen(tuple(fields))


def _states(values: Iterable[str]) -> Iterable[str]:
    wanted = set(values)
    if "active" in wanted:
        wanted = wanted - {"active"} | {state for state in STATES if state != "resolved"}
    if unknown := wanted - set(STATES):
        said = ", ".join(sorted(unknown))[:80]
        raise Problem("bad_parameter", f"state: {said} is none of active, {', '.join(STATES)}", field="state")
    return wanted


def _severities(values: Iterable[str]) -> Iterable[str]:
    if unknown := set(values) - set(SEVERITIES):
        said = ", ".join(sorted(unknown))[:80]
        raise Problem("bad_parameter", f"severity: {said} is none of {', '.join(SEVERITIES)}", field="severity")
    return values


def _any(values: Iterable[str]) -> Iterable[str]:
    return values


_FILTERS: dict[str, Callable[[Iterable[str]], Iterable[str]]] = {
    "state": _states,
    "severity": _severities,
    **dict.fromkeys(("category", "audience", "entity", "rule"), _any),
}
