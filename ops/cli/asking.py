"""Asks the edge for what the commands of devices show and do, and says why it refused."""

from __future__ import annotations

from typing import Any

from ops.cli.sessions import edge_of, refused
from ops.process.http import HttpAnswer, get
from ops.process.ports import url_of
from ops.settings import Settings
from ops.terminal import safe
from router.codec import from_json
from router.errors import BadEvent, RouterError

# A picture takes long to save; the other commands are refused by the actor itself long before.
PATIENCE = 28


async def ask(settings: Settings, path: str, body: bytes | None = None) -> HttpAnswer:
    """Sends one request to the edge: a GET, or a POST where there is a body. Raises RouterError."""
    host, port = edge_of(settings)
    method = "GET" if body is None else "POST"
    try:
        return await get(
            host, port, path, timeout=PATIENCE + 2, method=method, body=body or b"", token=settings.command.token
        )
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise RouterError(f"no edge answers at {url_of(host, port)} ({why}); start one with `callboard up`") from None


def read_answer(answer: HttpAnswer) -> Any:
    """What an answer says; None where it is no JSON."""
    try:
        return from_json(answer.body)
    except BadEvent:
        return None


def refusal(settings: Settings, answer: HttpAnswer, said: Any) -> RouterError:
    """Says why the edge, or the actor behind it, did not do it."""
    if answer.status in (401, 403):
        return RouterError(f"{url_of(*edge_of(settings))} {refused(answer, settings.command.token)}")
    why = said.get("detail") or said.get("title") if isinstance(said, dict) else None
    return RouterError(safe(str(why or f"{url_of(*edge_of(settings))} answered {answer.status}")))
