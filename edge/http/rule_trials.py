"""Handlers that try alert rules: on events of the request, and on stored history as a job of the alerts actor."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import UnsetType
from starlette.requests import Request
from starlette.responses import Response

from edge.errors import Problem, read_as
from edge.http.bodies.rules import BacktestAnswer, BacktestRequest, RuleTestAnswer, RuleTestRequest, TriedEvent
from edge.http.body import json_answer, read_json
from edge.http.openapi.operation import Answer, operation
from edge.http.rules import ask
from router.clock import wall
from router.codec import rfc3339
from router.cursor import parse_time
from router.errors import BadCursor

_AGO = re.compile(r"(\d{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_UNKNOWN = ("backtest_not_found", "backtest_gone", "alerts_unavailable")


@operation(
    "Say what rules would fire of some events; nothing is stored or told",
    Answer(200, "What would have fired", RuleTestAnswer),
    body=RuleTestRequest,
    body_required=True,
    problems=("bad_rule", "bad_event", "alerts_unavailable"),
)
async def test_rules(request: Request) -> Response:
    wanted = read_as(await read_json(request), RuleTestRequest)
    events = [_event(each, place) for place, each in enumerate(wanted.events)]
    return json_answer(await _tried(request, "test", "bad_event", events=events, **_rules(wanted.rules)))


@operation(
    "Say what rules would have fired of the stored events, as a job",
    Answer(202, "The back-test, which goes on after this request", BacktestAnswer),
    body=BacktestRequest,
    body_required=True,
    problems=("bad_rule", "missing_field", "too_many_backtests", "alerts_unavailable"),
)
async def start_backtest(request: Request) -> Response:
    wanted = read_as(await read_json(request), BacktestRequest)
    times = {"since": _moment(wanted.since, "since")}
    if wanted.until is not None:
        times["until"] = _moment(wanted.until, "until")
        if datetime.fromisoformat(times["since"]) >= datetime.fromisoformat(times["until"]):
            raise Problem("bad_body", "since: must be before until", field="since")
    elif datetime.fromisoformat(times["since"]).timestamp() > wall.now():
        raise Problem("bad_body", "since: must lie in the past", field="since")
    made = await _tried(request, "backtest", "too_many_backtests", **times, **_rules(wanted.rules))
    return json_answer(made, 202, {"Location": f"/rules/backtests/{made['id']}"})


@operation(
    "Read a back-test; 410 backtest_gone where the alerts actor was restarted since it was begun, or ten newer ones were",
    Answer(200, "What it has found so far", BacktestAnswer),
    problems=_UNKNOWN,
)
async def read_backtest(request: Request) -> Response:
    return json_answer(await _tried(request, "backtested", "backtest_not_found", id=request.path_params["backtest"]))


@operation("End a back-test", Answer(200, "What it has found", BacktestAnswer), problems=_UNKNOWN)
async def cancel_backtest(request: Request) -> Response:
    wanted = {"id": request.path_params["backtest"], "cancel": True}
    return json_answer(await _tried(request, "backtested", "backtest_not_found", **wanted))


async def _tried(request: Request, command: str, refusal: str, **arguments: Any) -> dict[str, Any]:
    """What the alerts actor answers. Raises Problem: `refusal` where it refuses, `bad_rule` for mistakes in rules."""
    try:
        found: dict[str, Any] = await ask(request, command, **arguments)
    except Problem as problem:
        if problem.code == "command_refused":
            raise Problem(refusal, problem.detail) from None
        raise
    if gone := found.get("gone"):
        raise Problem("backtest_gone", gone)
    mistakes = found.pop("mistakes", [])
    if mistakes:
        raise Problem("bad_rule", mistakes[0]["reason"], mistakes=mistakes)
    return found


def _rules(text: str | UnsetType) -> dict[str, str]:
    return {} if isinstance(text, UnsetType) else {"rules": text}


def _event(event: TriedEvent, place: int) -> dict[str, Any]:
    made: dict[str, Any] = {"subject": event.subject, "data": event.data}
    made |= {name: value for name, value in (("type", event.type), ("id", event.id)) if value is not None}
    if event.time is not None:
        try:
            moment = parse_time(event.time)
        except BadCursor as fault:
            raise Problem("bad_body", f"time: {fault}", field="events", index=place) from None
        made["time_ns"] = max(0, round((moment - _EPOCH).total_seconds() * 1_000_000) * 1000)
    return made


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(text: str, field: str) -> str:
    """A time as RFC 3339; 7d is a week ago. Raises Problem."""
    if ago := _AGO.match(text):
        seconds = timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
        return rfc3339(wall.now_ns() - int(seconds * 1_000_000_000))
    try:
        return parse_time(text).astimezone(UTC).isoformat()
    except (BadCursor, OverflowError):
        raise Problem("bad_body", f"{field}: must be RFC 3339, or how long ago, such as 7d", field=field) from None
