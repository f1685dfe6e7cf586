"""Handles POST /alerts/alertmanager: the webhook format of an Alertmanager becomes alerts, its fingerprint their key."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.bodies.alerts import AlertmanagerAlert, AlertmanagerNotice, AlertmanagerTaken
from edge.http.body import edge_of, json_answer, read_json
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.alert_store import AlertStore
from router.alerts import ALERTMANAGER, NS, PERSON, AlertRecord, Firing, fire, is_user, resolve
from router.clock import wall
from router.codec import to_json
from router.cursor import parse_time
from router.errors import BadCursor

# Alerts that are written at the same time.
MAX_WRITING = 16
MAX_LABELS = 64
MAX_LABEL = 500
MAX_AUDIENCE = 64
_SEVERITIES = {"critical": "critical", "error": "critical", "page": "critical", "info": "info", "none": "info"}
_URL = re.compile(r"https?://[^\s/]+/\S{0,1900}\Z")
# What names users, with commas between, in the annotations of an alert.
AUDIENCE = "callboard_audience"


@operation(
    "Take alerts from an Alertmanager, which has this as the url of a webhook",
    Answer(200, "What became of them", AlertmanagerTaken),
    body=AlertmanagerNotice,
    body_required=True,
    problems=("not_granted",),
)
async def post_alertmanager(request: Request) -> Response:
    principal_of(request.scope).require_command("alerts.main.alertmanager")
    notice = read_as(await read_json(request), AlertmanagerNotice)
    store = edge_of(request).alerts
    counts = {"firing": 0, "resolved": 0, "unchanged": 0}
    # All are read before the first is stored: a notice with a mistake in it changes nothing.
    wanted = [(alert, _read(alert, place)) for place, alert in enumerate(notice.alerts) if not _is_ours(alert)]
    counts["unchanged"] = len(notice.alerts) - len(wanted)
    for first in range(0, len(wanted), MAX_WRITING):
        for outcome in await asyncio.gather(
            *(_write(store, alert, firing) for alert, firing in wanted[first : first + MAX_WRITING])
        ):
            counts[outcome] += 1
    return json_answer(counts)


def _is_ours(alert: AlertmanagerAlert) -> bool:
    """Whether we posted it to that Alertmanager ourselves: it is known under its own rule."""
    return alert.labels.get("source") == "callboard" and "callboard_id" in alert.annotations


async def _write(store: AlertStore, alert: AlertmanagerAlert, firing: Firing) -> str:
    done = ["unchanged"]

    def transition(known: AlertRecord | None) -> AlertRecord | None:
        now = wall.now_ns()
        if alert.status == "firing":
            changed: AlertRecord | None = fire(known, _anew(known, firing), now)
        else:
            # Whatever its startsAt: a notice tells what is the case with a fingerprint now.
            changed = resolve(known, min(_time(alert.ends_at, "endsAt", now), now), now, ALERTMANAGER)
        done[0] = alert.status if changed is not known else "unchanged"
        return changed

    await store.change(ALERTMANAGER, firing.key, transition)
    return done[0]


def _anew(known: AlertRecord | None, firing: Firing) -> Firing:
    """The firing as another episode where a person resolved the one before: an Alertmanager repeats what still fires."""
    if known is None or known.is_active or known.reason != PERSON:
        return firing
    return replace(firing, began=f"{firing.began}\n{known.ended}")


def _read(alert: AlertmanagerAlert, place: int) -> Firing:
    """An alert as a finding. Raises Problem."""
    labels = {name[:MAX_LABEL]: text[:MAX_LABEL] for name, text in list(alert.labels.items())[:MAX_LABELS]}
    notes = alert.annotations
    name = labels.get("alertname", "")
    key = alert.fingerprint or hashlib.sha256(to_json(dict(sorted(alert.labels.items())))).hexdigest()[:16]
    try:
        at = _time(alert.starts_at, "startsAt", wall.now_ns())
        _time(alert.ends_at, "endsAt", 0)
    except Problem as problem:
        raise problem.with_more(index=place) from None
    users = [user.strip() for user in notes.get(AUDIENCE, "").split(",") if user.strip()]
    if len(users) > MAX_AUDIENCE or not all(is_user(user) for user in users):
        raise Problem("bad_body", f"{AUDIENCE}: must name at most {MAX_AUDIENCE} users", field=AUDIENCE, index=place)
    return Firing(
        rule=ALERTMANAGER,
        key=key,
        at=at,
        severity=_SEVERITIES.get(labels.get("severity", "").lower(), "warning"),
        category=(labels.get("category") or "alertmanager")[:64],
        entity=(labels.get("instance") or name or key)[:200],
        title=(notes.get("summary") or notes.get("title") or name or key)[:200],
        message=(notes.get("description") or notes.get("message") or "")[:1000],
        audience=tuple(users),
        actions=_actions(alert),
        labels=labels,
        began=f"{key}\n{alert.starts_at}",
    )


def _actions(alert: AlertmanagerAlert) -> tuple[dict[str, Any], ...]:
    links = {"Show the query": alert.url, "Open the runbook": alert.annotations.get("runbook_url", "")}
    return tuple({"label": label, "url": url} for label, url in links.items() if _URL.match(url))


def _time(text: str, field: str, default: int) -> int:
    """A time in ns. Raises Problem."""
    if not text:
        return default
    try:
        return max(0, int(parse_time(text).timestamp() * NS))
    except (BadCursor, OverflowError, ValueError):
        raise Problem("bad_body", f"{field}: must be RFC 3339", field=field) from None
