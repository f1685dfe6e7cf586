"""Looks after the webhook of one session, by the edge's HTTP API: its attempts, health and secret, and recovery.

A recovery is work of the edge: it goes on where this command is ended.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from ops.cli.interruptible import run_interruptibly
from ops.cli.sessions import edge_of, refused
from ops.process.http import get
from ops.process.ports import url_of
from ops.settings import Mistakes, Settings
from ops.terminal import Paint, StatusLine, bar, safe, table
from ops.values import seconds
from router.codec import from_json
from router.errors import BadEvent, RouterError

PAGE = 500
DEFAULT_LIMIT = 20
REQUEST_TIMEOUT = 20.0
POLL_EVERY = 0.3

# Codes of wrong requests, rather than of failures.
_MISTAKES = frozenset(
    {"bad_parameter", "bad_body", "bad_cursor", "bad_webhook", "missing_field", "session_not_found", "not_a_webhook"}
)
_DELIVERY = re.compile(r"(msg_)?[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class WebhookRequest:
    """What is to be done with the webhook of which session."""

    what: str
    session: str
    id: str | None = None
    event: str | None = None
    result: str | None = None
    limit: int | None = None
    since: str | None = None
    until: str | None = None
    rate: float | None = None
    last: int | None = None
    overlap: str | None = None
    signing: str | None = None
    reason: str | None = None
    wait: bool = True
    json: bool = False


def run_webhooks(settings: Settings, request: WebhookRequest) -> int:
    """Does what is asked; the exit code is 1 where a recovery did not end well. Raises Mistakes or RouterError."""
    if request.limit is not None and request.limit < 1:
        raise Mistakes([f"webhooks {request.what}: --limit needs a number from 1 on"])
    client = _WebhookClient(settings, request.session)
    match request.what:
        case "attempts":
            return run_interruptibly(_attempts(client, request))
        case "resend":
            return run_interruptibly(_resend(client, request))
        case "recover":
            return run_interruptibly(_recover(client, request))
        case "replay":
            return run_interruptibly(_replay(client, request))
        case "rotate":
            return run_interruptibly(_rotate(client, request))
        case "verify":
            return run_interruptibly(_verify(client, request))
        case "health":
            return run_interruptibly(_health(client, request))
        case _:
            body = {"reason": request.reason} if request.reason is not None else {}
            return run_interruptibly(_health(client, request, request.what, body))


class _WebhookClient:
    """Calls the webhook API of one session."""

    def __init__(self, settings: Settings, session: str) -> None:
        self.host, self.port = edge_of(settings)
        self._token = settings.command.token
        self._base = f"/callbacks/sessions/{quote(session, safe='')}"

    async def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Asks and gives the answer. Raises Mistakes for what was asked wrongly, RouterError otherwise."""
        url = url_of(self.host, self.port)
        content = jsonlib.dumps(body).encode() if body is not None else b""
        try:
            answer = await get(
                self.host, self.port, f"{self._base}/{path}", REQUEST_TIMEOUT, method, content, token=self._token
            )
        except OSError as fault:
            why = fault.strerror or str(fault)
            raise RouterError(f"no edge answers at {url} ({why}); start one with `callboard up`") from None
        try:
            said = from_json(answer.body)
        except BadEvent:
            said = None
        if not isinstance(said, dict):
            raise RouterError(f"{url} answered {answer.status}, and not about webhooks")
        if answer.status < 300:
            return said
        if answer.status in (401, 403):
            raise RouterError(f"{url} {refused(answer, self._token)}")
        why = safe(str(said.get("detail") or said.get("title") or answer.status))
        if said.get("code") in _MISTAKES:
            raise Mistakes([f"webhooks: {why}"])
        raise RouterError(why)


# Listing and showing


async def _attempts(client: _WebhookClient, request: WebhookRequest) -> int:
    left = request.limit or DEFAULT_LIMIT
    asked = {name: text for name in ("event", "result") if (text := getattr(request, name)) is not None}
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while left > 0:
        query = {**asked, "limit": str(min(left, PAGE))} | ({"cursor": cursor} if cursor else {})
        page = await client.ask("attempts?" + urlencode(query))
        found += page["attempts"]
        left -= len(page["attempts"])
        cursor = page["next"]
        if cursor is None:
            break
    if request.json:
        for attempt in found:
            print(jsonlib.dumps(attempt))
        return 0
    if not found:
        print("no attempts" + (" that fit" if asked else ""))
        return 0
    paint = Paint.of(sys.stdout)
    print(
        table(
            [_row(attempt, paint) for attempt in found],
            ("at", "event", "try", "why", "came to", "took", "next try", "delivery"),
            paint,
        )
    )
    if cursor is not None:
        sys.stdout.flush()
        print("there are more; --limit shows them", file=sys.stderr)
    return 0


def _row(attempt: Mapping[str, Any], paint: Paint) -> tuple[str, ...]:
    events = attempt["events"]
    status = str(attempt["status"] or "")
    came_to = status if attempt["ok"] else " ".join(part for part in (status, str(attempt["error"] or "")) if part)
    return (
        paint(_when(attempt["at"]), "dim"),
        safe(str(attempt["event"])) if len(events) == 1 else f"{len(events)} events",
        str(attempt["attempt"]),
        safe(str(attempt["trigger"])),
        paint(safe(came_to), "green" if attempt["ok"] else "red"),
        f"{attempt['timing_ms']['total']:,.0f} ms",
        _when(attempt["next_attempt_at"]),
        safe(str(attempt["delivery"])),
    )


def _when(text: object) -> str:
    """A time as people here read it."""
    # Cut to microseconds: what is stored has nine digits, or fewer.
    cut = re.sub(r"(\.\d{6})\d+", r"\1", str(text or ""))
    try:
        return datetime.fromisoformat(cut).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return safe(str(text or ""))


async def _health(
    client: _WebhookClient, request: WebhookRequest, order: str | None = None, body: object = None
) -> int:
    """Shows how an endpoint is, after an order where there is one."""
    health = await (client.ask("health") if order is None else client.ask(order, "POST", body or {}))
    if request.json:
        print(jsonlib.dumps(health, indent=2))
        return 0
    paint = Paint.of(sys.stdout)
    oldest = health["oldest_parked_seconds"]
    parked = f"{health['parked']:,}" + (f", the oldest for {oldest:,.0f} s" if oldest else "")
    rows = [
        (
            "state",
            paint(str(health["state"]), {"closed": "green", "paused": "yellow"}.get(str(health["state"]), "red")),
        ),
        ("consent", "" if health["active"] else "its receiver has not agreed yet"),
        ("since", _when(health["since"])),
        ("left alone until", _when(health["until"])),
        ("reason", safe(str(health["reason"] or ""))),
        ("failures in a row", str(health["failures"] or "")),
        ("failing since", _when(health["failing_since"])),
        ("rate", f"{health['rate']:g} a second" if health["rate"] else ""),
        ("parked", parked if health["parked"] else ""),
        (
            "partition",
            "" if health["partition_owned"] else f"{health['partition']} has no owner: nothing is posted meanwhile",
        ),
        ("wait in the event store", f"{health['waiting_events']:,}" if health["waiting_events"] else ""),
    ]
    print(table([(paint(name, "dim"), text) for name, text in rows if text]))
    return 0


# Sending again


async def _resend(client: _WebhookClient, request: WebhookRequest) -> int:
    id = request.id or ""
    answer = await client.ask("resend", "POST", {"delivery" if _DELIVERY.match(id) else "event": id})
    what = "it is" if answer["events"] == 1 else f"its {answer['events']:,} events are"
    print(jsonlib.dumps(answer) if request.json else f"{what} sent again; webhook-id {safe(str(answer['webhook_id']))}")
    return 0


async def _recover(client: _WebhookClient, request: WebhookRequest) -> int:
    if request.since is None:
        raise Mistakes(["webhooks recover: since when? give --since, such as 2h, or RFC 3339"])
    body: dict[str, Any] = {"since": _moment(request.since)}
    body |= {"until": _moment(request.until)} if request.until is not None else {}
    body |= {"rate": request.rate} if request.rate is not None else {}
    return await _watch(client, request, await client.ask("recover", "POST", body))


async def _replay(client: _WebhookClient, request: WebhookRequest) -> int:
    if (request.since is None) == (request.last is None):
        raise Mistakes(["webhooks replay: from where? give --since, such as 2h or RFC 3339, or --last N"])
    body: dict[str, Any] = {"last": request.last} if request.since is None else {"since": _moment(request.since)}
    body |= {"until": _moment(request.until)} if request.until is not None else {}
    body |= {"rate": request.rate} if request.rate is not None else {}
    return await _watch(client, request, await client.ask("replay", "POST", body))


async def _watch(client: _WebhookClient, request: WebhookRequest, recovery: dict[str, Any]) -> int:
    """Shows how far it is until it has ended, or only says that it has begun."""
    if not request.wait:
        print(jsonlib.dumps(recovery) if request.json else f"{recovery['kind']} {recovery['id']} has begun")
        return 0
    line = StatusLine(sys.stderr)
    try:
        while recovery["state"] == "running":
            line.show(_progress(recovery))
            await asyncio.sleep(POLL_EVERY)
            recovery = await client.ask(f"recoveries/{recovery['id']}")
    except asyncio.CancelledError:
        print("\nit goes on without you", file=sys.stderr)
        raise
    finally:
        line.clear()
    print(jsonlib.dumps(recovery) if request.json else _ended(recovery))
    return 0 if recovery["state"] == "done" and not recovery["skipped"] else 1


# Its secret, and its consent


async def _rotate(client: _WebhookClient, request: WebhookRequest) -> int:
    try:
        body: dict[str, Any] = {} if request.overlap is None else {"overlap": seconds(request.overlap)}
    except ValueError as fault:
        raise Mistakes([f"webhooks rotate: --overlap {fault}"]) from None
    if request.signing is not None:
        body["signing"] = request.signing
    answer = await client.ask("secret/rotate", "POST", body)
    if request.json:
        print(jsonlib.dumps(answer, indent=2))
        return 0
    # By itself, for who keeps it in a file; and never seen again.
    print(answer["webhook_secret"])
    print("the old secret signs beside it for a while; this one is shown this once", file=sys.stderr)
    if public := answer.get("webhook_public_key"):
        print(f"receivers verify with the public key {public}", file=sys.stderr)
    return 0


async def _verify(client: _WebhookClient, request: WebhookRequest) -> int:
    answer = await client.ask("verify", "POST", {})
    verification = answer["verification"]
    if request.json:
        print(jsonlib.dumps(verification))
    elif verification["ok"]:
        print("its receiver agrees")
    else:
        said = [verification[name] for name in ("error", "status", "detail")]
        print("its receiver has not agreed: " + safe(" ".join(str(part) for part in said if part is not None)))
    return 0 if verification["ok"] else 1


def _progress(recovery: Mapping[str, Any]) -> str:
    done, total = recovery["sent"] + recovery["skipped"], recovery["total"]
    if total is None:
        # Of a replay only the part of the stream's range is known before its end.
        share = recovery.get("progress")
        return f"{done:,} so far" if share is None else f"{bar(share)} {share:4.0%}  {done:,} so far"
    share = done / total if total else 1.0
    return f"{bar(share)} {share:4.0%}  {done:,} of {total:,}"


def _ended(recovery: Mapping[str, Any]) -> str:
    if recovery["kind"] == "replay":
        told = f"{recovery['sent']:,} events are sent again"
    else:
        told = f"{recovery['sent']:,} of {recovery['total'] or 0:,} failed deliveries are sent again"
    if recovery["skipped"]:
        told += f"; of {recovery['skipped']:,} the event is no longer kept"
    if recovery["state"] != "done":
        told += f"; it is {recovery['state']}" + (f": {safe(str(recovery['error']))}" if recovery["error"] else "")
    return told


def _moment(text: str) -> str:
    """Makes a time of how long ago it was; what is a time already is the edge's to read."""
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|[smhdw]))+", text):
        return text
    return datetime.fromtimestamp(time.time() - seconds(text), UTC).isoformat()
