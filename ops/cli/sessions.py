"""Lists the sessions of a running edge."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Any
from urllib.parse import urlsplit

from ops.cli.interruptible import run_interruptibly
from ops.process.http import HttpAnswer, get
from ops.process.ports import reachable, url_of
from ops.settings import Mistakes, Settings
from ops.terminal import Paint, safe, table
from router.codec import from_json
from router.errors import BadEvent, RouterError


def edge_of(settings: Settings) -> tuple[str, int]:
    """Finds where the edge is: as set, as a running `callboard up` says, or as it would be by default. Raises Mistakes."""
    url = settings.command.edge_url
    if url is None and not settings.was_set("CALLBOARD_EDGE_PORT"):
        settings.one_is_meant()
        url = settings.running.edge_url if settings.running else None
    if url is None:
        edge = settings.section("edge")
        return reachable(edge.host), edge.port
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname:
        raise Mistakes([f"CALLBOARD_EDGE_URL={url}: needs the edge's own address, such as http://127.0.0.1:8000"])
    return parts.hostname, port or 80


def run_sessions(settings: Settings, *, json: bool) -> int:
    """Prints the sessions the edge knows. Raises RouterError."""
    host, port = edge_of(settings)
    sessions = run_interruptibly(_ask(host, port, settings.command.token))
    if json:
        print(jsonlib.dumps(sessions, indent=2))
        return 0
    if not sessions:
        print(f'no sessions; make one: curl -d \'{{"delivery_method":"sse"}}\' {url_of(host, port)}/callbacks/sessions')
        return 0
    print(
        table(
            [_row(session) for session in sessions], ("session", "delivery", "subjects", "types"), Paint.of(sys.stdout)
        )
    )
    return 0


async def _ask(host: str, port: int, token: str | None) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = []
    while True:
        page, total = await _page(host, port, len(sessions), token)
        sessions += page
        if not page or len(sessions) >= total:
            return sessions


async def _page(host: str, port: int, offset: int, token: str | None) -> tuple[list[dict[str, Any]], int]:
    try:
        answer = await get(host, port, f"/callbacks/sessions?limit=1000&offset={offset}", timeout=5, token=token)
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise RouterError(f"no edge answers at {url_of(host, port)} ({why}); start one with `callboard up`") from None
    try:
        said = from_json(answer.body)
    except BadEvent:
        said = None
    match said:
        case {"sessions": list(sessions), "total": int(total)} if answer.status == 200:
            return [session for session in sessions if isinstance(session, dict)], total
    if answer.status in (401, 403):
        raise RouterError(f"{url_of(host, port)} {refused(answer, token)}")
    raise RouterError(f"{url_of(host, port)} answered {answer.status}, and not with a list of sessions")


def refused(answer: HttpAnswer, token: str | None) -> str:
    """Says what a token that the edge did not take wants."""
    said = from_json(answer.body) if answer.body.startswith(b"{") else {}
    why = safe(str(said.get("detail") or said.get("title") or answer.status))
    hint = "" if token else "; give one with --token or CALLBOARD_TOKEN (`callboard token` makes one)"
    return f"refuses: {why}{hint}"


def _row(session: dict[str, Any]) -> tuple[str, str, str, str]:
    def words(name: str, otherwise: str) -> str:
        value = session.get(name)
        return safe(", ".join(map(str, value)) if isinstance(value, list) and value else otherwise)

    identity = session.get("session_id") or session.get("id") or "?"
    return (
        safe(str(identity)),
        safe(str(session.get("delivery_method", "?"))),
        words("subjects", "all"),
        words("events", "all"),
    )
