"""Handlers of the latest state of runs: a page of all that are stored, and one with what it consists of."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem
from edge.http.bodies.runs import RunAnswer, RunQuery, RunsAnswer, RunsQuery
from edge.http.body import edge_of, json_answer, read_query
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from router.catalogue import RUN_DOMAINS
from router.codec import rfc3339
from router.cursor import parse_time
from router.errors import BadCursor
from router.record import Record
from router.subject import escape, unescape

# 500 states are decoded in a few milliseconds; then others have their turn.
AT_ONCE = 500
SEARCHED = ("run", "name", "stage", "message", "error")
STATUSES = frozenset({"running", "stopping", "completed", "failed", "cancelled"})


class _Place(NamedTuple):
    """Where a run is in the list: newest begin first, which does not change while it goes on."""

    started: str
    key: str


@operation(
    "List the runs with their latest state",
    Answer(200, "The run that began last first", RunsAnswer),
    query=RunsQuery,
    problems=("bad_cursor", "bad_parameter"),
)
async def list_runs(request: Request) -> Response:
    """Answers with all runs that have a stored state, whether or not the agent actor has them in memory."""
    asked = read_query(request, RunsQuery)
    after = _place(asked.cursor) if asked.cursor else None
    domains = RUN_DOMAINS if asked.domain is None else (asked.domain,)
    wanted = set(asked.status.split(",")) if asked.status else None
    if wanted is not None and not wanted <= STATUSES:
        said = ", ".join(sorted(wanted - STATUSES))[:80]
        raise Problem("bad_parameter", f"status: {said} is none of {', '.join(sorted(STATUSES))}", field="status")
    since, until = _moment("since", asked.since), _moment("until", asked.until)
    text = asked.text.lower() if asked.text else None
    found: list[tuple[_Place, dict[str, Any]]] = []
    records = await _latest(request, *(f"{domain}.*.state" for domain in domains))
    for at in range(0, len(records), AT_ONCE):
        for place, state in _states(records[at : at + AT_ONCE]):
            if wanted is not None and state.get("status") not in wanted:
                continue
            if asked.parent is not None and state.get("parent") != asked.parent:
                continue
            if _is_within(state, since, until) and (text is None or _contains(state, text)):
                found.append((place, state))
        await asyncio.sleep(0)
    found.sort(key=lambda each: each[0], reverse=True)
    rest = found if after is None else [each for each in found if each[0] < after]
    page = rest[: asked.limit]
    following = _cursor(page[-1][0]) if len(rest) > len(page) else None
    return json_answer({"runs": [state for _, state in page], "total": len(found), "next": following})


@operation(
    "Read the latest state of one run, and what it consists of",
    Answer(200, "The run; without a domain, the one of this name that was heard of last", RunAnswer),
    query=RunQuery,
    problems=("run_not_found",),
)
async def read_run(request: Request) -> Response:
    asked = read_query(request, RunQuery)
    token = escape(request.path_params["run"])
    domains = RUN_DOMAINS if asked.domain is None else (asked.domain,)
    records = await _latest(
        request, *(f"{domain}.{token}.{kind}" for domain in domains for kind in ("state", "stages"))
    )
    states = [record for record in records if record.event and record.event.type == "state"]
    if not states:
        raise Problem("run_not_found", f"no run {request.path_params['run'][:60]!r} is known")
    ((_, state),) = _states(states[-1:])
    return json_answer({**state, **_stages(state, records)})


def _stages(state: dict[str, Any], records: list[Record]) -> dict[str, Any]:
    """The stages of the life that a state is of."""
    for record in records:
        event = record.event
        if event is None or event.type != "stages" or event.subject.domain != state["domain"]:
            continue
        if event.data.get("incarnation") == state.get("incarnation"):
            return {"stages": event.data.get("stages", []), "stages_left_out": event.data.get("left_out", 0)}
    return {"stages": [], "stages_left_out": 0}


def _states(records: Iterable[Record]) -> Iterable[tuple[_Place, dict[str, Any]]]:
    for record in records:
        event = record.event
        if event is None:
            continue
        key, started = f"{event.subject.domain}.{event.subject.entity}", event.data.get("started")
        place = _Place(started if isinstance(started, str) else rfc3339(event.time), key)
        yield place, {"run": unescape(event.subject.entity), "domain": event.subject.domain, **event.data}


def _moment(field: str, text: str | None) -> datetime | None:
    """A time of the query. Raises Problem."""
    try:
        return None if text is None else parse_time(text)
    except BadCursor as fault:
        raise Problem("bad_parameter", f"{field}: {fault}", field=field) from None


def _is_within(state: dict[str, Any], since: datetime | None, until: datetime | None) -> bool:
    """Whether a run was heard of last in this time; one that does not say when is in none."""
    if since is None and until is None:
        return True
    try:
        updated = parse_time(str(state.get("updated")))
    except BadCursor:
        return False
    return (since is None or updated >= since) and (until is None or updated < until)


def _contains(state: dict[str, Any], text: str) -> bool:
    return any(text in str(state.get(field) or "").lower() for field in SEARCHED)


async def _latest(request: Request, *patterns: str) -> list[Record]:
    """The newest events under some patterns that the principal may read."""
    grants = principal_of(request.scope).grants
    found = await edge_of(request).broker.latest(patterns)
    return [record for record in found if grants.may_read(record.subject)]


def _cursor(place: _Place) -> str:
    return base64.urlsafe_b64encode("|".join(place).encode()).decode().rstrip("=")


def _place(cursor: str) -> _Place:
    """Raises Problem for a cursor that is no `next`."""
    try:
        started, _, key = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
    except ValueError:
        key = ""
    if not key:
        raise Problem("bad_cursor", "a cursor is the `next` of the page before")
    return _Place(started, key)
